// SamplerParams as bytes: all members in order, little-endian, lists with a u32 count before them.
#include <algorithm>
#include <cstring>

#include "engine/sampler.h"

namespace sterna {

namespace {

constexpr uint32_t kVersion = 2;  // 1: without top-n-sigma and XTC

class Writer {
public:
    template <typename T>
    void add(T value) {
        size_t at = bytes_.size();
        bytes_.resize(at + sizeof value);
        std::memcpy(bytes_.data() + at, &value, sizeof value);
    }
    std::vector<uint8_t> take() { return std::move(bytes_); }

private:
    std::vector<uint8_t> bytes_;
};

// Reads until something is missing; then failed() and every value is 0.
class Reader {
public:
    explicit Reader(Bytes bytes) : reader_(bytes) {}
    template <typename T>
    void read(T& value) {
        auto read_value = reader_.read<T>();
        failed_ = failed_ || !read_value;
        value = failed_ ? T{} : *read_value;
    }
    bool failed() const { return failed_; }
    size_t remaining() const { return reader_.remaining(); }

private:
    ByteReader reader_;
    bool failed_ = false;
};

// The fixed part: one list for both directions.
template <typename Params, typename Visit>
void visit_numbers(Params& p, Visit visit) {
    visit(p.seed);
    visit(p.temperature);
    visit(p.top_k);
    visit(p.top_p);
    visit(p.min_p);
    visit(p.typical_p);
    visit(p.penalty_last_n);
    visit(p.repeat_penalty);
    visit(p.presence_penalty);
    visit(p.frequency_penalty);
    visit(p.dry.multiplier);
    visit(p.dry.base);
    visit(p.dry.allowed_length);
    visit(p.dry.last_n);
}
template <typename Params, typename Visit>
void visit_numbers_of_version_2(Params& p, Visit visit) {
    visit(p.top_n_sigma);
    visit(p.xtc_probability);
    visit(p.xtc_threshold);
}

}  // namespace

void apply_recommended_sampling(const Metadata& metadata, std::span<const std::string> keep, SamplerParams& params) {
    auto wanted = [&](std::string_view name) { return std::ranges::find(keep, name) == keep.end(); };
    auto key = [](std::string_view name) { return "general.sampling." + std::string(name); };
    const std::pair<std::string_view, float*> floats[] = {{"temp", &params.temperature},
                                                          {"top_p", &params.top_p},
                                                          {"min_p", &params.min_p},
                                                          {"xtc_probability", &params.xtc_probability},
                                                          {"xtc_threshold", &params.xtc_threshold},
                                                          {"penalty_repeat", &params.repeat_penalty}};
    for (const auto& [name, value] : floats)
        if (auto given = metadata.get_float(key(name)); given && wanted(name)) *value = float(*given);
    const std::pair<std::string_view, int32_t*> integers[] = {{"top_k", &params.top_k},
                                                              {"penalty_last_n", &params.penalty_last_n}};
    for (const auto& [name, value] : integers)
        if (auto given = metadata.get_int(key(name)); given && wanted(name))
            *value = int32_t(std::clamp<int64_t>(*given, INT32_MIN, INT32_MAX));
}

std::vector<uint8_t> encode_sampler_params(const SamplerParams& params) {
    Writer writer;
    writer.add(kVersion);
    visit_numbers(params, [&](auto value) { writer.add(value); });
    visit_numbers_of_version_2(params, [&](auto value) { writer.add(value); });
    writer.add(uint32_t(params.dry.sequence_breakers.size()));
    for (const auto& breaker : params.dry.sequence_breakers) {
        writer.add(uint32_t(breaker.size()));
        for (int32_t token : breaker) writer.add(token);
    }
    writer.add(uint32_t(params.logit_bias.size()));
    for (auto [token, bias] : params.logit_bias) {
        writer.add(token);
        writer.add(bias);
    }
    return writer.take();
}

Result<SamplerParams> decode_sampler_params(Bytes bytes, const SamplerLimits& limits) {
    Reader reader(bytes);
    SamplerParams params;
    uint32_t version = 0, count = 0;
    reader.read(version);
    if (version < 1 || version > kVersion)
        return fail(ErrorCode::kUnsupported, "sampler parameters: version {}, expected 1 to {}", version, kVersion);
    visit_numbers(params, [&](auto& value) { reader.read(value); });
    if (version >= 2) visit_numbers_of_version_2(params, [&](auto& value) { reader.read(value); });
    reader.read(count);
    if (count > limits.max_breakers)
        return fail(ErrorCode::kLimit, "sampler parameters: {} sequence breakers, the limit is {}", count,
                    limits.max_breakers);
    for (uint32_t i = 0; i < count && !reader.failed(); ++i) {
        uint32_t length = 0;
        reader.read(length);
        if (length > limits.max_breaker_tokens)
            return fail(ErrorCode::kLimit, "sampler parameters: a sequence breaker of {} tokens, the limit is {}",
                        length, limits.max_breaker_tokens);
        auto& breaker = params.dry.sequence_breakers.emplace_back(length);
        for (int32_t& token : breaker) reader.read(token);
    }
    reader.read(count);
    if (count > limits.max_logit_bias || count * 8ull > reader.remaining())
        return fail(ErrorCode::kBadFile, "sampler parameters: {} biases in {} bytes", count, reader.remaining());
    params.logit_bias.resize(count);
    for (auto& [token, bias] : params.logit_bias) {
        reader.read(token);
        reader.read(bias);
    }
    if (reader.failed() || reader.remaining() > 0)
        return fail(ErrorCode::kBadFile, "sampler parameters: {} bytes do not hold one record", bytes.size());
    return params;
}

}  // namespace sterna
