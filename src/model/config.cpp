#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace sterna {

namespace {

bool in_range(double value, double low, double high) {
    return value >= low && value <= high;
}  // false for NaN

}  // namespace

ConfigReader::ConfigReader(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture)
    : metadata_(metadata), limits_(limits), architecture_(architecture) {}

std::string ConfigReader::key(std::string_view name) const {
    std::string full = architecture_;
    full += '.';
    full += name;
    return full;
}

void ConfigReader::reject(std::string message) {
    if (error_.empty()) error_ = std::move(message);
}

bool ConfigReader::has(std::string_view name) const {
    return metadata_.has(key(name));
}

int64_t ConfigReader::integer(std::string_view name, int64_t low, int64_t high, int64_t otherwise) {
    std::string full = key(name);
    if (!metadata_.has(full)) {
        if (otherwise == kRequired)
            reject(fmt::format("{}: missing, expected a number from {} to {}", full, low, high));
        return otherwise == kRequired ? low : otherwise;
    }
    auto value = metadata_.get_int(full);
    if (!value) {
        reject(fmt::format("{}: not an integer, expected one from {} to {}", full, low, high));
        return low;
    }
    if (*value < low || *value > high) {
        reject(fmt::format("{}: {}, expected {} to {}", full, *value, low, high));
        return low;
    }
    return *value;
}

std::vector<int64_t> ConfigReader::per_layer(std::string_view name, int64_t n, int64_t low, int64_t high,
                                             int64_t otherwise) {
    std::string full = key(name);
    if (metadata_.has(full) && !metadata_.get_int(full)) {
        auto values = metadata_.get_ints(full);
        if (!values) {
            reject(fmt::format("{}: neither an integer nor an array of them", full));
        } else if (int64_t(values->size()) < n) {
            reject(fmt::format("{}: {} values, expected one for each of {} layers", full, values->size(), n));
        } else {
            values->resize(size_t(n));
            for (int64_t value : *values)
                if (value < low || value > high) {
                    reject(fmt::format("{}: {}, expected {} to {}", full, value, low, high));
                    return std::vector<int64_t>(size_t(n), low);
                }
            return *std::move(values);
        }
        return std::vector<int64_t>(size_t(n), low);
    }
    return std::vector<int64_t>(size_t(n), integer(name, low, high, otherwise));
}

double ConfigReader::number(std::string_view name, double low, double high, double otherwise) {
    std::string full = key(name);
    if (!metadata_.has(full)) return otherwise;
    auto value = metadata_.get_float(full);
    if (!value) {
        reject(fmt::format("{}: not a number", full));
        return otherwise;
    }
    if (!in_range(*value, low, high)) {
        reject(fmt::format("{}: {}, expected {} to {}", full, *value, low, high));
        return otherwise;
    }
    return *value;
}

bool ConfigReader::flag(std::string_view name, bool otherwise) {
    std::string full = key(name);
    if (!metadata_.has(full)) return otherwise;
    auto value = metadata_.get_bool(full);
    if (!value) reject(fmt::format("{}: not true or false", full));
    return value.value_or(otherwise);
}

std::string_view ConfigReader::text(std::string_view name) {
    std::string full = key(name);
    if (!metadata_.has(full)) return {};
    auto value = metadata_.get_string(full);
    if (!value) reject(fmt::format("{}: not a text", full));
    return value.value_or(std::string_view{});
}

void ConfigReader::rope(Config& config, RopeStyle style) {
    RopeConfig& rope = config.rope;
    rope.style = style;
    rope.n_dims = integer("rope.dimension_count", 2, config.head_dim_k, config.head_dim_k);
    if (rope.n_dims % 2)
        reject(fmt::format("{}: {}, expected an even number", key("rope.dimension_count"), rope.n_dims));
    rope.n_dims_local = rope.n_dims;
    rope.theta = number("rope.freq_base", 1.001, 1e12, 10000.0);
    rope.original_context =
        integer("rope.scaling.original_context_length", 1, limits_.max_context, config.context_length);
    std::string_view scaling = text("rope.scaling.type");
    if (scaling == "linear") {
        rope.scaling = RopeScaling::kLinear;
    } else if (scaling == "yarn") {
        rope.scaling = RopeScaling::kYarn;
    } else if (scaling == "longrope" || scaling == "su") {
        rope.scaling = RopeScaling::kLongRope;
    } else if (!scaling.empty() && scaling != "none" && scaling != "llama3") {
        reject(fmt::format("{}: \"{}\", expected none, linear, yarn or longrope", key("rope.scaling.type"),
                           scaling.substr(0, 64)));
    }
    // Files made before 2023-10 call the linear factor scale_linear and name no type.
    double old_factor = number("rope.scale_linear", 1e-3, 1e6, 1.0);
    rope.factor = number("rope.scaling.factor", 1e-3, 1e6, old_factor);
    if (scaling.empty() && rope.factor != 1.0) rope.scaling = RopeScaling::kLinear;
    rope.attention_factor = number("rope.scaling.attn_factor", 1e-3, 1e3, 1.0);
    rope.beta_fast = number("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0);
    rope.beta_slow = number("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0);
    rope.extrapolation_factor = number("rope.scaling.yarn_ext_factor", 0.0, 1.0, 1.0);
    // YaRN, section 3.4: cos and sin grow by 0.1 ln(factor) + 1.
    if (rope.scaling == RopeScaling::kYarn && rope.factor > 1.0)
        rope.attention_factor *= 1.0 + 0.1 * kernels::log_f64(rope.factor);
}

void ConfigReader::sliding_window(Config& config, int64_t pattern, int64_t otherwise) {
    config.sliding_window = integer("attention.sliding_window", 0, int64_t(1) << 40, otherwise);
    config.is_sliding.assign(size_t(config.n_layers), config.sliding_window > 0);
    if (config.sliding_window == 0 || pattern == 0) return;
    for (int64_t layer = pattern - 1; layer < config.n_layers; layer += pattern)
        config.is_sliding[size_t(layer)] = false;
}

Config ConfigReader::common(RopeStyle style, int64_t min_kv_heads) {
    Config config;
    config.architecture = architecture_;
    config.n_layers = integer("block_count", 1, limits_.max_layers);
    config.width = integer("embedding_length", 1, limits_.max_width);
    config.context_length = integer("context_length", 1, limits_.max_context);
    int64_t n = config.n_layers;
    config.n_heads = per_layer("attention.head_count", n, 1, limits_.max_heads);
    config.n_kv_heads = has("attention.head_count_kv")
                            ? per_layer("attention.head_count_kv", n, min_kv_heads, limits_.max_heads)
                            : config.n_heads;
    for (int64_t layer = 0; layer < n; ++layer) {
        if (config.n_kv_heads[size_t(layer)] > 0) continue;
        if (config.kv_layer.empty())
            for (int64_t i = 0; i < n; ++i) config.kv_layer.push_back(i);
        config.kv_layer[size_t(layer)] = -1;
        config.n_kv_heads[size_t(layer)] = 1;
    }
    for (int64_t layer = 0; layer < n; ++layer) {
        int64_t heads = config.n_heads[size_t(layer)], kv_heads = config.n_kv_heads[size_t(layer)];
        if (heads % kv_heads) {
            reject(fmt::format("{}: {} heads cannot share {} KV heads evenly", key("attention.head_count"), heads,
                               kv_heads));
            break;
        }
    }
    config.ffn_width = per_layer("feed_forward_length", n, 0, limits_.max_ffn_width, 0);
    int64_t share = std::max<int64_t>(1, config.width / config.n_heads[0]);
    if (!has("attention.key_length") && (share > limits_.max_head_dim || share * config.n_heads[0] != config.width))
        reject(fmt::format("{}: {} does not split into {} heads of at most {}", key("embedding_length"), config.width,
                           config.n_heads[0], limits_.max_head_dim));
    share = std::min(share, limits_.max_head_dim);
    config.head_dim_k = integer("attention.key_length", 1, limits_.max_head_dim, share);
    config.head_dim_v = integer("attention.value_length", 1, limits_.max_head_dim, share);
    config.norm_eps = float(number("attention.layer_norm_rms_epsilon", 0.0, 1.0, 1e-5));
    config.attention_scale = float(number("attention.scale", -1e6, 1e6, 0.0));
    if (config.attention_scale == 0.0f) config.attention_scale = float(1.0 / std::sqrt(double(config.head_dim_k)));
    config.attention_softcap = float(number("attn_logit_softcapping", 0.0, 1e6, 0.0));
    config.logit_softcap = float(number("final_logit_softcapping", 0.0, 1e6, 0.0));
    if (style != RopeStyle::kNone) rope(config, style);
    config.is_sliding.assign(size_t(n), false);
    config.n_experts = integer("expert_count", 0, limits_.max_experts, 0);
    if (config.n_experts > 0) {
        config.n_experts_used = integer("expert_used_count", 1, config.n_experts);
        config.expert_ffn_width = integer("expert_feed_forward_length", 1, limits_.max_ffn_width, config.ffn_width[0]);
        config.expert_weights_norm = flag("expert_weights_norm", true);
        config.expert_weights_scale = float(number("expert_weights_scale", 0.0, 1e6, 1.0));
        if (config.expert_weights_scale == 0.0f)
            config.expert_weights_scale = 1.0f;  // 0 means "not set" in older files
        config.shared_ffn_width = integer("expert_shared_feed_forward_length", 0, limits_.max_ffn_width, 0);
        config.n_dense_layers = integer("leading_dense_block_count", 0, n, 0);
        config.n_expert_groups = std::max<int64_t>(1, integer("expert_group_count", 0, kMaxExpertGroups, 1));
        config.n_expert_groups_used =
            integer("expert_group_used_count", 0, config.n_expert_groups, config.n_expert_groups);
        if (config.n_expert_groups_used == 0) config.n_expert_groups_used = config.n_expert_groups;
        if (config.n_experts % config.n_expert_groups ||
            config.n_experts / config.n_expert_groups * config.n_expert_groups_used < config.n_experts_used)
            reject(fmt::format("{}: {} groups, {} of them used, do not give {} of {} experts",
                               key("expert_group_count"), config.n_expert_groups, config.n_expert_groups_used,
                               config.n_experts_used, config.n_experts));
        // 0: not set; 1: softmax; 2: sigmoid.
        if (integer("expert_gating_func", 0, 2, 0) == 2) config.expert_gating = ExpertGating::kSigmoid;
        if (config.expert_ffn_width == 0) reject(fmt::format("{}: missing", key("expert_feed_forward_length")));
    } else {
        for (int64_t width : config.ffn_width)
            if (width == 0) {
                reject(fmt::format("{}: missing or 0", key("feed_forward_length")));
                break;
            }
    }
    return config;
}

Result<Config> ConfigReader::finish(Config config) {
    if (!error_.empty()) return std::unexpected(Error{ErrorCode::kBadFile, error_});
    return config;
}

}  // namespace sterna
