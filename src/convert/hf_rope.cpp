#include "convert/hf_rope.h"

#include <cmath>
#include <numbers>
#include <optional>

#include <nlohmann/json.hpp>

#include "convert/text_lists.h"

namespace sterna {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxFactors = 4096;  // pairs of a head

class Rope {
public:
    Rope(const Json& config, const std::string& where, HfConfig& result, GgufWriter& writer)
        : config_(config), where_(where), result_(result), writer_(writer) {}

    Result<std::vector<std::string>> write() {
        const Json* all = find_json(config_, "rope_parameters|rope_scaling");
        if (all && !all->is_object()) return fail(ErrorCode::kBadFile, "{}: rope_scaling: not an object", where_);
        global_ = all ? find_json(*all, "full_attention|global_attention") : nullptr;
        if (!global_) global_ = all;
        const Json* local = all ? find_json(*all, "sliding_attention|local_attention") : nullptr;
        if (global_ && !global_->is_object())
            return fail(ErrorCode::kBadFile, "{}: rope_parameters: not an object", where_);

        theta_ = number("rope_theta");
        if (!theta_ && config_.contains("rope_theta")) theta_ = number_at(config_, "rope_theta");
        if (!theta_) theta_ = number_at(config_, "rotary_emb_base");
        if (theta_) STERNA_CHECK(set_f32("rope.freq_base", *theta_));
        auto theta_local = local && local->is_object() ? number_at(*local, "rope_theta") : std::nullopt;
        if (!theta_local) theta_local = number_at(config_, "rope_local_base_freq");
        if (theta_local) STERNA_CHECK(set_f32("rope.freq_base_swa", *theta_local));
        STERNA_CHECK(dimensions());
        if (global_) STERNA_CHECK(scaling());
        return std::move(keys_);
    }

private:
    static std::optional<double> number_at(const Json& object, std::string_view path) {
        const Json* value = find_json(object, path);
        if (!value || !value->is_number()) return std::nullopt;
        return value->get<double>();
    }
    // Of the parameters, or of the config itself.
    std::optional<double> number(std::string_view name) const {
        return global_ ? number_at(*global_, name) : std::nullopt;
    }

    Status set_f32(const char* key, double value) {
        keys_.push_back(key);
        return writer_.set_f32(result_.name + "." + key, float(value));
    }
    Status set_u32(const char* key, double value) {
        if (!(value >= 0 && value <= double(UINT32_MAX)))
            return fail(ErrorCode::kBadFile, "{}: {} of {}, expected a count", where_, key, value);
        keys_.push_back(key);
        return writer_.set_u32(result_.name + "." + key, uint32_t(value));
    }
    Status set_text(const char* key, std::string_view value) {
        keys_.push_back(key);
        return writer_.set_string(result_.name + "." + key, value);
    }

    Status dimensions() {
        const Json* type = global_ ? find_json(*global_, "rope_type|type") : nullptr;
        const bool proportional = type && *type == "proportional";
        auto head = number_at(config_, proportional ? "global_head_dim|head_dim" : "head_dim");
        if (!head) {
            const auto width = number_at(config_, "hidden_size|n_embd|d_model");
            const auto heads = number_at(config_, "num_attention_heads|n_head|num_heads");
            if (width && heads && *heads > 0) head = std::floor(*width / *heads);
        }
        auto share = number("partial_rotary_factor");
        if (!share) share = number_at(config_, "partial_rotary_factor|rotary_pct|rope_pct");
        if (proportional) return proportional_dimensions(head, share.value_or(1.0));
        std::optional<double> n = number_at(config_, "rotary_dim");
        if (!n && head && (share || theta_)) n = std::floor(*head * share.value_or(1.0));
        if (!n) return {};
        if (!(*n >= 2 && *n <= 65536))
            return fail(ErrorCode::kBadFile, "{}: {} rotary dimensions of a head, expected at least 2", where_, *n);
        n_dims_ = size_t(*n);
        return set_u32("rope.dimension_count", *n);
    }

    // Gemma 4: the frequencies are spread over the whole head, but only the first pairs turn; the others are divided away.
    Status proportional_dimensions(std::optional<double> head, double share) {
        constexpr float kNever = 1e30f;
        if (!head || !(*head >= 2 && *head <= 65536) || !(share >= 0.0 && share <= 1.0))
            return fail(ErrorCode::kBadFile, "{}: proportional RoPE without a head size, or with an odd share", where_);
        const size_t pairs = size_t(*head) / 2, turning = size_t(share * *head / 2.0);
        for (size_t pair = 0; pair < pairs; ++pair) result_.rope_factors.push_back(pair < turning ? 1.0f : kNever);
        return {};
    }

    Status scaling() {
        const Json* type = find_json(*global_, "rope_type|type");
        const std::string name = type ? plain_text(*type) : "default";
        if (const Json* sections = find_json(*global_, "mrope_section")) STERNA_CHECK(mrope(*sections));
        if (name == "default" || name == "none" || name == "mrope" || name == "proportional") return {};
        if (name == "dynamic") {
            result_.notes.push_back(fmt::format(
                "{}: dynamic NTK scaling is left out; up to the trained context it changes nothing", where_));
            return {};
        }
        const auto factor = number("factor");
        const auto original = number("original_max_position_embeddings").or_else([&] {
            return number_at(config_, "original_max_position_embeddings");
        });
        const auto context = number_at(config_, "max_position_embeddings");
        if (name == "longrope" || name == "su") return longrope(factor, original, context);
        if (!factor || !(*factor >= 1e-3 && *factor <= 1e6))
            return fail(ErrorCode::kBadFile, "{}: {} RoPE scaling without a factor", where_, name);
        if (name == "linear") {
            STERNA_CHECK(set_text("rope.scaling.type", "linear"));
            return set_f32("rope.scaling.factor", *factor);
        }
        if (name == "yarn") return yarn(*factor, original);
        if (name == "llama3") return llama3(*factor, original);
        return fail(ErrorCode::kUnsupported, "{}: RoPE scaling '{}', expected linear, yarn, longrope or llama3", where_,
                    name.substr(0, 64));
    }

    Status mrope(const Json& sections) {
        std::vector<int64_t> values;
        for (const Json& section : sections)
            if (section.is_number_integer() && values.size() < 4) values.push_back(section.get<int64_t>() & 0xffff);
        values.resize(4);
        keys_.push_back("rope.dimension_sections");
        return writer_.set_ints(result_.name + ".rope.dimension_sections", GgufType::kI32, values);
    }

    Status yarn(double factor, std::optional<double> original) {
        STERNA_CHECK(set_text("rope.scaling.type", "yarn"));
        STERNA_CHECK(set_f32("rope.scaling.factor", factor));
        if (original) STERNA_CHECK(set_u32("rope.scaling.original_context_length", *original));
        if (const auto fast = number("beta_fast")) STERNA_CHECK(set_f32("rope.scaling.yarn_beta_fast", *fast));
        if (const auto slow = number("beta_slow")) STERNA_CHECK(set_f32("rope.scaling.yarn_beta_slow", *slow));
        // Readers multiply cos and sin by 0.1 ln(factor) + 1 (YaRN, section 3.4) and by this.
        if (const auto wanted = number("attention_factor"); wanted && factor > 1.0)
            STERNA_CHECK(set_f32("rope.scaling.attn_factor", *wanted / (1.0 + 0.1 * std::log(factor))));
        return {};
    }

    Status longrope(std::optional<double> factor, std::optional<double> original, std::optional<double> context) {
        STERNA_CHECK(factors("long_factor", result_.rope_factors_long));
        STERNA_CHECK(factors("short_factor", result_.rope_factors_short));
        if (!original || !context || !(*original >= 2))
            return fail(ErrorCode::kBadFile, "{}: longrope scaling without original_max_position_embeddings", where_);
        STERNA_CHECK(set_u32("rope.scaling.original_context_length", *original));
        // LongRoPE (Ding et al. 2024): sqrt(1 + ln(scale) / ln(original)), where scale is how far the context grew.
        const double scale = *context > *original ? *context / *original : factor.value_or(1.0);
        double wanted = scale > 1.0 ? std::sqrt(1.0 + std::log(scale) / std::log(*original)) : 1.0;
        if (const auto given = number("attention_factor")) wanted = *given;
        return set_f32("rope.scaling.attn_factor", wanted);
    }

    Status factors(const char* name, std::vector<float>& to) {
        const Json* values = find_json(*global_, name);
        if (!values || !values->is_array() || values->empty() || values->size() > kMaxFactors)
            return fail(ErrorCode::kBadFile, "{}: longrope scaling without {}", where_, name);
        for (const Json& value : *values) {
            if (!value.is_number()) return fail(ErrorCode::kBadFile, "{}: {}: not a list of numbers", where_, name);
            to.push_back(float(value.get<double>()));
        }
        return {};
    }

    // Llama 3.1: pairs that turn often within the original context keep their frequency, slow ones are divided by the
    // factor, those between are mixed linearly in their wavelength. Stored as divisors of the frequencies.
    Status llama3(double factor, std::optional<double> original) {
        const double low = number("low_freq_factor").value_or(1.0), high = number("high_freq_factor").value_or(4.0);
        const double context = original.value_or(8192.0);
        if (!theta_ || n_dims_ == 0 || !(high > low) || !(low > 0))
            return fail(ErrorCode::kBadFile, "{}: llama3 RoPE scaling without rope_theta, or with odd factors", where_);
        for (size_t pair = 0; pair < n_dims_ / 2; ++pair) {
            const double frequency = std::pow(*theta_, -2.0 * double(pair) / double(n_dims_));
            const double wavelength = 2.0 * std::numbers::pi / frequency;
            double divisor = 1.0;
            if (wavelength > context / low) {
                divisor = factor;
            } else if (wavelength >= context / high) {
                const double kept = (context / wavelength - low) / (high - low);
                divisor = 1.0 / ((1.0 - kept) / factor + kept);
            }
            result_.rope_factors.push_back(float(divisor));
        }
        return {};
    }

    const Json& config_;
    const std::string& where_;
    HfConfig& result_;
    GgufWriter& writer_;
    const Json* global_ = nullptr;
    std::optional<double> theta_;
    size_t n_dims_ = 0;
    std::vector<std::string> keys_;
};

}  // namespace

Result<std::vector<std::string>> write_hf_rope(const Json& config, const std::string& where, HfConfig& result,
                                               GgufWriter& writer) {
    return Rope(config, where, result, writer).write();
}

}  // namespace sterna
