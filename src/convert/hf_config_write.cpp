// config.json from GGUF metadata: the rows of the architecture, read backwards.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <nlohmann/json.hpp>

#include "convert/hf_config.h"
#include "convert/text_lists.h"
#include "model/model.h"

namespace sterna {

namespace {

using Json = nlohmann::json;

// The shortest decimal that is this float again: 1e-06 instead of 9.999999974752427e-07.
double as_written(double value) {
    const std::string text = fmt::format("{}", float(value));
    return std::strtod(text.c_str(), nullptr);
}

Json json_of(std::string_view text) {
    Json value = Json::parse(text, nullptr, false);
    return value.is_discarded() ? Json(std::string(text)) : value;
}

class ConfigWriter {
public:
    ConfigWriter(const Metadata& metadata, const HfConfigFacts& facts, const Config& config, std::string_view name)
        : metadata_(metadata), facts_(facts), config_(config), name_(name) {}

    void row(const HfKey& row) {
        if (row.json.empty()) return;
        const Json value = value_of(row);
        if (value.is_null()) return;
        for (std::string_view json : split_text(row.json, '|'))
            if (json.find('.') == std::string_view::npos) out[std::string(json)] = value;
    }

    void rope() {
        if (config_.rope.style == RopeStyle::kNone) return;
        const RopeConfig& rope = config_.rope;
        if (!config_.layer_head_dim_k.empty()) return rope_by_kind();
        if (config_.recurrent.n_heads > 0) return rope_of_three_axes();
        out["rope_theta"] = as_written(rope.theta);
        if (rope.theta_local > 0.0) out["rope_local_base_freq"] = as_written(rope.theta_local);
        if (rope.n_dims != config_.head_dim_k && config_.latent.rank == 0)
            out["partial_rotary_factor"] = turning_share();
        Json scaling;
        if (!facts_.rope_factors_long.empty()) {
            scaling = {{"rope_type", "longrope"},
                       {"long_factor", numbers(facts_.rope_factors_long)},
                       {"short_factor", numbers(facts_.rope_factors_short)}};
            out["original_max_position_embeddings"] = rope.original_context;
        } else if (!facts_.rope_factors.empty()) {
            scaling = llama3();
        } else if (rope.scaling == RopeScaling::kLinear) {
            scaling = {{"rope_type", "linear"}, {"factor", as_written(rope.factor)}};
        } else if (rope.scaling == RopeScaling::kYarn) {
            scaling = {{"rope_type", "yarn"},
                       {"factor", as_written(rope.factor)},
                       {"beta_fast", as_written(rope.beta_fast)},
                       {"beta_slow", as_written(rope.beta_slow)},
                       {"original_max_position_embeddings", rope.original_context}};
            const double usual = 1.0 + 0.1 * std::log(std::max(rope.factor, 1.0));  // YaRN, section 3.4
            const double growth = metadata_.get_float(key("rope.scaling.yarn_log_multiplier")).value_or(0.0);
            if (growth != 0.0)  // DeepSeek's, which changes the scores instead of cos and sin
                scaling["mscale"] = scaling["mscale_all_dim"] = as_written(10.0 * growth);
            else if (std::abs(rope.attention_factor / usual - 1.0) > 1e-6)
                scaling["attention_factor"] = as_written(rope.attention_factor);
            if (!rope.rounded_ramp) scaling["truncate"] = false;
        }
        if (!scaling.is_null()) out["rope_scaling"] = scaling;
    }

    // What follows from the sizes together, and keys whose default in transformers is not what these files mean.
    void derived() {
        const LatentConfig& latent = config_.latent;
        if (latent.rank > 0) {
            out["qk_nope_head_dim"] = latent.nope_dim;
            out["num_key_value_heads"] = config_.n_heads[0];
            out["head_dim"] = config_.rope.n_dims;
            if (latent.q_rank == 0) out["q_lora_rank"] = nullptr;
            const bool in_groups = metadata_.get_int(key("expert_group_count")).value_or(1) > 1;
            if (config_.expert_gating == ExpertGating::kSoftmax)
                out["topk_method"] = in_groups ? "group_limited_greedy" : "greedy";
        }
        if (config_.recurrent.n_heads > 0) out["linear_value_head_dim"] = config_.recurrent.value_dim;
        if (name_ == "lfm2") out["block_auto_adjust_ff_dim"] = false;
        if (!config_.layer_head_dim_k.empty()) kinds_of_layers();
    }

    Json out = Json::object();
    std::vector<std::string> notes;

private:
    std::string key(std::string_view gguf) const { return std::string(name_) + "." + std::string(gguf); }

    double turning_share() const { return double(config_.rope.n_dims) / double(config_.head_dim_k); }

    // Qwen3.5: time, height and width turn pairs of their own; for text they are the same number.
    void rope_of_three_axes() {
        Json parameters = {{"rope_type", "default"},
                           {"rope_theta", as_written(config_.rope.theta)},
                           {"partial_rotary_factor", turning_share()}};
        if (const auto sections = metadata_.get_ints(key("rope.dimension_sections"));
            sections && sections->size() >= 3) {
            parameters["mrope_section"] = std::vector<int64_t>(sections->begin(), sections->begin() + 3);
            parameters["mrope_interleaved"] = true;
        }
        out["rope_parameters"] = parameters;
    }

    // Gemma 4: the frequencies of layers that see everything are spread over the head, and the first pairs turn.
    void rope_by_kind() {
        const auto& divisors = facts_.rope_factors;
        const auto turning = std::ranges::count(divisors, 1.0f);
        const double share = divisors.empty() ? 1.0 : double(turning) / double(divisors.size());
        out["rope_parameters"] = {
            {"full_attention",
             {{"rope_type", "proportional"},
              {"rope_theta", as_written(config_.rope.theta)},
              {"partial_rotary_factor", share}}},
            {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", as_written(config_.rope.theta_local)}}}};
    }

    // Gemma 4: layers that see everything have heads of another size and number, those that share keys and values have
    // wider feed-forward networks.
    void kinds_of_layers() {
        const auto is_wide = [&](int64_t width) { return width > config_.ffn_width[0]; };
        out["intermediate_size"] = config_.ffn_width[0];
        out["use_double_wide_mlp"] = std::ranges::any_of(config_.ffn_width, is_wide);
        out["attention_k_eq_v"] = facts_.keys_are_values;
        out["vocab_size_per_layer_input"] = facts_.vocab_size;
        for (size_t layer = 0; layer < config_.n_kv_heads.size(); ++layer)
            out[config_.is_sliding[layer] ? "num_key_value_heads" : "num_global_key_value_heads"] =
                config_.n_kv_heads[layer];
    }

    static Json numbers(std::span<const float> values) {
        Json list = Json::array();
        for (float value : values) list.push_back(as_written(double(value)));
        return list;
    }

    Json value_of(const HfKey& row) {
        const std::vector<std::string_view> choices = split_text(row.choices, '|');
        if (row.kind == HfKind::kIs) {
            if (row.otherwise.empty() && choices.empty()) return {};
            // The first BitNet has SiLU; otherwise a row's default says what the forward pass computes.
            if (name_ == "bitnet" && row.json.starts_with("hidden_act")) return "silu";
            return json_of(row.otherwise.empty() ? choices[0] : row.otherwise);
        }
        const std::string full = key(row.gguf);
        // Left out by files where it is true; the checkpoints' default is false.
        if (row.gguf == "expert_weights_norm") return config_.expert_weights_norm;
        if (row.kind == HfKind::kInverseRoot && row.gguf == "attention.scale") {
            // Files leave it out where it follows from the head size. It was an integer; its inverse root as a float is not.
            const double scale = double(config_.attention_scale), value = std::round(1000.0 / (scale * scale)) / 1000.0;
            return value == std::floor(value) && value < 1e9 ? Json(int64_t(value)) : Json(value);
        }
        if (!metadata_.has(full)) return {};
        if (row.kind == HfKind::kInt && !choices.empty()) return chosen(choices, metadata_.get_int(full).value_or(-1));
        if (row.kind == HfKind::kInt) {
            if (const auto value = metadata_.get_int(full)) return *value;
            if (const auto values = metadata_.get_ints(full)) return *values;
        } else if (row.kind == HfKind::kFloat) {
            if (const auto value = metadata_.get_float(full)) return as_written(*value);
            if (const auto values = metadata_.get_floats(full)) {
                Json list = Json::array();
                for (double value : *values) list.push_back(as_written(value));
                return list;
            }
        } else if (row.kind == HfKind::kInverseRoot) {
            const double value = metadata_.get_float(full).value_or(0.0);
            if (value > 0.0) return std::round(1.0 / (value * value) * 1000.0) / 1000.0;
        } else if (row.kind == HfKind::kBool) {
            if (const auto value = metadata_.get_bool(full)) return *value;
        } else if (row.kind == HfKind::kText) {
            if (const auto value = metadata_.get_string(full)) return std::string(*value);
        } else if (!choices.empty()) {
            return layer_texts(row, choices[0], full);
        }
        return {};
    }

    static Json chosen(const std::vector<std::string_view>& choices, int64_t value) {
        for (std::string_view choice : choices) {
            const size_t equals = choice.find('=');
            if (equals != std::string_view::npos && choice.substr(equals + 1) == std::to_string(value))
                return std::string(choice.substr(0, equals));
        }
        return {};
    }

    // kPeriod, kFlags and kWhere.
    Json layer_texts(const HfKey& row, std::string_view choice, const std::string& full) {
        if (row.elsewhere.empty()) {
            notes.push_back(fmt::format("config.json: {} is not written", row.json));
            return {};
        }
        Json list = Json::array();
        const auto flags = metadata_.get_ints(full);
        const int64_t period = metadata_.get_int(full).value_or(0);
        if (row.kind == HfKind::kWhere && flags && !flags->empty())
            out[std::string(row.otherwise)] = *std::ranges::max_element(*flags);
        for (int64_t layer = 0; layer < config_.n_layers; ++layer) {
            const bool is = flags ? size_t(layer) < flags->size() && (*flags)[size_t(layer)] != 0
                                  : period > 0 && layer % period == period - 1;
            list.push_back(std::string(is ? choice : row.elsewhere));
        }
        return list;
    }

    // The parameters are not in the file, but follow from the divisors of a pair between the two bands, given that Llama's
    // own band limits (1 and 4) were used; that all divisors come out again is checked.
    Json llama3() {
        constexpr double kLow = 1.0, kHigh = 4.0, kTolerance = 1e-4;
        const auto& divisors = facts_.rope_factors;
        const double factor = double(*std::ranges::max_element(divisors));
        auto wavelength = [&](size_t pair) {
            return 2.0 * std::numbers::pi *
                   std::pow(config_.rope.theta, 2.0 * double(pair) / double(config_.rope.n_dims));
        };
        double context = 8192.0;  // that of all published ones, should no pair lie between
        for (size_t pair = 0; pair < divisors.size(); ++pair) {
            const double divisor = double(divisors[pair]);
            if (divisor < 1.0 + kTolerance || divisor > factor * (1.0 - kTolerance)) continue;
            const double kept = (1.0 / divisor - 1.0 / factor) / (1.0 - 1.0 / factor);
            context = std::round(wavelength(pair) * (kept * (kHigh - kLow) + kLow));
        }
        for (size_t pair = 0; pair < divisors.size(); ++pair) {
            const double ratio = context / wavelength(pair);
            const double kept = std::clamp((ratio - kLow) / (kHigh - kLow), 0.0, 1.0);
            const double divisor = 1.0 / ((1.0 - kept) / factor + kept);
            if (std::abs(divisor - double(divisors[pair])) > kTolerance * factor) {
                notes.push_back("rope_freqs.weight: not a llama3 scaling that config.json can say; it is left out");
                return {};
            }
        }
        return {{"rope_type", "llama3"},
                {"factor", as_written(factor)},
                {"low_freq_factor", kLow},
                {"high_freq_factor", kHigh},
                {"original_max_position_embeddings", int64_t(context)}};
    }

    const Metadata& metadata_;
    const HfConfigFacts& facts_;
    const Config& config_;
    std::string_view name_;
};

const HfClass* class_of(const Architecture& architecture, std::string_view name, const Config& config) {
    const HfClass* found = nullptr;
    // Llama's file format also holds its two descendants, which transformers has classes of their own for.
    std::string_view wanted = name != "llama"             ? ""
                              : config.n_experts > 0      ? "MixtralForCausalLM"
                              : config.sliding_window > 0 ? "MistralForCausalLM"
                                                          : "";
    if (config.latent.rank > 0 && config.expert_gating == ExpertGating::kSigmoid) wanted = "DeepseekV3ForCausalLM";
    for (const HfClass& known : architecture.hf.classes) {
        const std::string_view of = known.architecture.empty() ? architecture.name : known.architecture;
        if (known.name == wanted) return &known;
        if (!found && of == name) found = &known;
    }
    if (!found && !architecture.hf.classes.empty()) found = &architecture.hf.classes[0];
    return found;
}

}  // namespace

Result<std::string> write_hf_config(const Metadata& metadata, const HfConfigFacts& facts,
                                    std::vector<std::string>& notes) {
    STERNA_TRY(plan, plan_model(metadata, {}));
    const std::string name(metadata.get_string("general.architecture").value_or(""));
    const HfClass* hf_class = class_of(*plan.architecture, name, plan.config);
    if (!hf_class)
        return fail(ErrorCode::kUnsupported, "architecture {}: has no Hugging Face class to be written as", name);
    ConfigWriter writer(metadata, facts, plan.config, name);
    writer.out["architectures"] = {std::string(hf_class->name)};
    const std::span<const HfKey> own = plan.architecture->hf.keys;
    for (const HfKey& row : kHfCommon)
        if (std::ranges::none_of(own,
                                 [&](const HfKey& other) { return !other.gguf.empty() && other.gguf == row.gguf; }))
            writer.row(row);
    for (const HfKey& row : own) writer.row(row);
    writer.rope();
    writer.derived();
    Json& out = writer.out;
    // After the rows: one of them reads this key for want of a better one.
    out["model_type"] = std::string(hf_class->model_type.empty() ? std::string_view(name) : hf_class->model_type);
    out["vocab_size"] = facts.vocab_size;
    out["tie_word_embeddings"] = facts.tied;
    out["dtype"] = out["torch_dtype"] = std::string(facts.dtype);
    if (facts.n_token_types > 0) out["type_vocab_size"] = facts.n_token_types;
    if (!out.contains("attention_bias")) out["attention_bias"] = facts.attention_bias;
    if (!out.contains("mlp_bias")) out["mlp_bias"] = facts.ffn_bias;
    constexpr std::pair<const char*, const char*> kIds[] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                                            {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                                            {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    for (const auto& [json, gguf] : kIds) {
        const auto id = metadata.get_int(gguf);
        out[json] = id && *id >= 0 && *id < facts.vocab_size ? Json(*id) : Json(nullptr);
    }
    std::ranges::move(writer.notes, std::back_inserter(notes));
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace sterna
