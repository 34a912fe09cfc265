// A model of any architecture made up from its own tensor table: metadata with small sizes, which a target may change, and a tensor
// of the right shape for each slot. And edits, by which an input changes a valid file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/metadata.h"
#include "format/gguf.h"
#include "model/model.h"

namespace sterna {

inline void require(bool held) {
    if (!held) std::abort();
}

class SyntheticModel : public Metadata, public TensorSource {
public:
    static constexpr int64_t kVocab = 24;
    static constexpr size_t kMaxTensorBytes = 1 << 18, kMaxBytes = 1 << 22;

    explicit SyntheticModel(const Architecture& architecture) : architecture_(architecture.name) {
        using Values = std::initializer_list<std::pair<const char*, int64_t>>;
        auto set_all = [&](Values values) {
            for (auto [name, value] : values) set_int(name, value);
        };
        set_all({{"block_count", 2},
                 {"context_length", 64},
                 {"embedding_length", 16},
                 {"feed_forward_length", 24},
                 {"attention.head_count", 2},
                 {"attention.sliding_window", 8}});
        // What some architectures are not themselves without.
        if (architecture_.find("moe") != std::string::npos || architecture_ == "gpt-oss" ||
            architecture_ == "deepseek2")
            set_all({{"expert_count", 3},
                     {"expert_used_count", 2},
                     {"expert_feed_forward_length", 8},
                     {"expert_shared_feed_forward_length", 8}});
        if (architecture_ == "deepseek2")
            set_all({{"attention.kv_lora_rank", 8},
                     {"attention.head_count_kv", 1},
                     {"attention.key_length", 12},
                     {"attention.value_length", 8},
                     {"attention.key_length_mla", 8},
                     {"attention.value_length_mla", 4},
                     {"rope.dimension_count", 4},
                     {"leading_dense_block_count", 1},
                     {"expert_shared_count", 1}});
        if (architecture_.starts_with("qwen35"))
            set_all({{"ssm.conv_kernel", 4},
                     {"ssm.time_step_rank", 2},
                     {"ssm.group_count", 2},
                     {"ssm.state_size", 8},
                     {"ssm.inner_size", 16},
                     {"full_attention_interval", 2}});
        if (architecture_ == "lfm2") {
            set_int("shortconv.l_cache", 3);
            set_ints("attention.head_count_kv", {0, 2});
        }
    }

    void set_int(const std::string& name, int64_t value) { numbers_[key(name)] = double(value); }
    void set_number(const std::string& name, double value) { numbers_[key(name)] = value; }
    void set_text(const std::string& name, std::string value) { texts_[key(name)] = std::move(value); }
    void set_ints(const std::string& name, std::vector<int64_t> values) { arrays_[key(name)] = std::move(values); }

    // Makes the tensors that the metadata calls for. False: refused, or too large for a fuzzer.
    bool make_tensors(const ModelLimits& limits) {
        auto plan = plan_model(*this, limits);
        if (!plan) {
            require(!plan.error().message.empty() && plan.error().message.size() < 1000);
            return false;
        }
        Config& config = plan->config;
        config.vocab_size = kVocab;
        size_t total = 0;
        for (const TensorSpec& spec : plan->architecture->tensors(config)) {
            const bool per_layer = spec.gguf_name.find("{}") != std::string_view::npos;
            for (int64_t layer = per_layer ? 0 : -1; layer < (per_layer ? config.n_layers : 0); ++layer) {
                if (per_layer && !spec.applies(config, layer)) continue;
                const std::string name = layer_name(spec.gguf_name, layer);
                TensorView view = shaped(spec.shape, config, layer);
                const auto bytes = dtype_bytes(DType::kF32, uint64_t(view.n_elements()));
                if (!bytes || *bytes > kMaxTensorBytes || (total += size_t(*bytes)) > kMaxBytes) return false;
                view.data = values().first(size_t(*bytes));
                auto at = tensors_.emplace(name, view).first;
                at->second.name = at->first;
            }
        }
        return true;
    }

    // The same as a file.
    std::vector<uint8_t> file() const {
        GgufWriter writer;
        bool good = bool(writer.set_string("general.architecture", architecture_));
        for (const auto& [name, value] : numbers_) good = good && writer.set_u32(name, uint32_t(value));
        for (const auto& [name, list] : arrays_) good = good && writer.set_ints(name, GgufType::kI32, list);
        for (const auto& [name, view] : tensors_)
            good =
                good && writer.add_tensor(name, view.type, std::span(view.shape).first(size_t(view.n_dims)), view.data);
        auto bytes = writer.to_bytes();
        require(good && bytes);
        return *bytes;
    }

    bool has(std::string_view name) const override {
        return name == "general.architecture" || numbers_.contains(name) || texts_.contains(name) ||
               arrays_.contains(name);
    }
    std::optional<int64_t> get_int(std::string_view name) const override {
        auto at = numbers_.find(name);
        if (at == numbers_.end() || !(at->second > -9e18 && at->second < 9e18) ||
            at->second != double(int64_t(at->second)))
            return std::nullopt;
        return int64_t(at->second);
    }
    std::optional<double> get_float(std::string_view name) const override {
        auto at = numbers_.find(name);
        return at == numbers_.end() ? std::nullopt : std::optional(at->second);
    }
    std::optional<bool> get_bool(std::string_view name) const override {
        auto at = numbers_.find(name);
        return at == numbers_.end() ? std::nullopt : std::optional(at->second != 0);
    }
    std::optional<std::string_view> get_string(std::string_view name) const override {
        if (name == "general.architecture") return architecture_;
        auto at = texts_.find(name);
        return at == texts_.end() ? std::nullopt : std::optional<std::string_view>(at->second);
    }
    std::optional<std::vector<int64_t>> get_ints(std::string_view name) const override {
        auto at = arrays_.find(name);
        return at == arrays_.end() ? std::nullopt : std::optional(at->second);
    }
    std::optional<std::vector<double>> get_floats(std::string_view name) const override {
        auto at = arrays_.find(name);
        if (at == arrays_.end()) return std::nullopt;
        return std::vector<double>(at->second.begin(), at->second.end());
    }
    std::optional<std::vector<std::string_view>> get_strings(std::string_view) const override { return std::nullopt; }
    const TensorView* find_tensor(std::string_view name) const override {
        auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : &at->second;
    }

private:
    std::string key(const std::string& name) const { return architecture_ + "." + name; }

    static TensorView shaped(std::string_view text, const Config& config, int64_t layer) {
        TensorView view;
        while (!text.empty() && view.n_dims < kMaxDims) {
            const size_t comma = text.find(',');
            std::string_view name = text.substr(0, comma);
            while (name.starts_with(' ')) name.remove_prefix(1);
            // A dimension that has no meaning or is 0 is for check_tensors() to refuse.
            view.shape[size_t(view.n_dims++)] =
                std::clamp<int64_t>(resolve_dim(name, config, layer), 1, int64_t(kMaxTensorBytes));
            text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
        }
        return view;
    }

    static Bytes values() {
        static const std::vector<float> floats = [] {
            std::vector<float> made(kMaxTensorBytes / sizeof(float));
            for (uint32_t i = 0, x = 1; i < made.size(); ++i) {
                x = x * 1664525u + 1013904223u;
                made[i] = 0.01f + float(x >> 16) * 0x1p-18f;  // positive, as RoPE factors must be
            }
            return made;
        }();
        return {reinterpret_cast<const uint8_t*>(floats.data()), kMaxTensorBytes};
    }

    std::string architecture_;
    std::map<std::string, double, std::less<>> numbers_;
    std::map<std::string, std::string, std::less<>> texts_;
    std::map<std::string, std::vector<int64_t>, std::less<>> arrays_;
    std::map<std::string, TensorView, std::less<>> tensors_;
};

// Records of the input, five bytes each: what to do, where (three bytes), with what. The beginning of a file, where its structure is,
// is aimed at by half of them.
inline void apply_edits(ByteReader& input, std::vector<uint8_t>& bytes) {
    constexpr size_t kBeginning = 1024;
    while (auto record = input.read_bytes(5)) {
        if (bytes.empty()) return;
        const uint8_t* r = record->data();
        const size_t range = r[0] & 1 ? std::min(kBeginning, bytes.size()) : bytes.size();
        const size_t at = (size_t(r[1]) | size_t(r[2]) << 8 | size_t(r[3]) << 16) % range;
        const uint8_t value = r[4];
        switch (r[0] >> 1 & 7) {
            case 0:
            case 1:
                bytes[at] = value;
                break;
            case 2:
                bytes[at] = uint8_t(bytes[at] + value);
                break;
            case 3:
                bytes[at] ^= uint8_t(1u << (value & 7));
                break;
            case 4:  // a wide number becomes huge
                for (size_t i = at; i < std::min(at + (value & 7) + 1, bytes.size()); ++i) bytes[i] = 0xff;
                break;
            case 5:
                bytes.erase(bytes.begin() + std::ptrdiff_t(at),
                            bytes.begin() + std::ptrdiff_t(std::min(at + value, bytes.size())));
                break;
            case 6:
                bytes.insert(bytes.begin() + std::ptrdiff_t(at), value & 15, value);
                break;
            default:
                if (value > 200) bytes.resize(at);
                break;
        }
    }
}

}  // namespace sterna
