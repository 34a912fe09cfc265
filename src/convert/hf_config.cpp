#include "convert/hf_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "convert/hf_rope.h"
#include "convert/listed_checkpoint.h"
#include "convert/text_lists.h"
#include "model/model.h"

namespace sterna {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxConfigBytes = size_t(16) << 20;
constexpr size_t kMaxListEntries = 4096;  // of a value with one entry per layer
// Where the language model's part of a multimodal model's config.json lies.
constexpr std::string_view kTextConfigs[] = {"text_config", "llm_config", "language_config",
                                             "thinker_config.text_config"};

class RowWriter {
public:
    RowWriter(const Json& config, const std::string& where, const std::string& architecture, GgufWriter& writer,
              const std::vector<std::string>& taken)
        : config_(config), where_(where), architecture_(architecture), writer_(writer), taken_(taken) {}

    Status write(const HfKey& row) {
        const Json* value = nullptr;
        if (!row.json.empty()) value = find_json(config_, row.json);
        if (!value) return write_default(row);
        const std::string key = architecture_ + "." + std::string(row.gguf);
        switch (row.kind) {
            case HfKind::kInt:
                return write_int(row, key, *value);
            case HfKind::kFloat:
                return write_float(row, key, *value);
            case HfKind::kInverseRoot:
                if (!value->is_number() || !(value->get<double>() > 0)) return wrong(row, *value, "a positive number");
                return writer_.set_f32(key, float(1.0 / std::sqrt(value->get<double>())));
            case HfKind::kBool:
                if (!value->is_boolean()) return wrong(row, *value, "true or false");
                return writer_.set_bool(key, value->get<bool>());
            case HfKind::kText:
                if (!value->is_string()) return wrong(row, *value, "a text");
                return writer_.set_string(key, value->get<std::string>());
            case HfKind::kIs:
                return check_is(row, plain_text(*value));
            case HfKind::kPeriod:
                return write_period(row, key, *value);
            case HfKind::kFlags:
                return write_flags(row, key, *value);
            case HfKind::kWhere:
                return write_where(row, key, *value);
        }
        return {};
    }

private:
    std::unexpected<Error> wrong(const HfKey& row, const Json& value, std::string_view wanted) const {
        return fail(ErrorCode::kBadFile, "{}: {}: {}, expected {}", where_, name_of(row), short_dump(value), wanted);
    }
    // The key that was found, or the first that might have been.
    std::string_view name_of(const HfKey& row) const {
        const auto names = split_text(row.json, '|');
        for (std::string_view name : names)
            if (find_json(config_, name)) return name;
        return names.empty() ? row.gguf : names[0];
    }

    Status write_default(const HfKey& row) {
        if (row.kind == HfKind::kWhere)
            return fail(ErrorCode::kBadFile, "{}: {}: missing, expected a list with one text per layer", where_,
                        name_of(row));
        if (row.kind == HfKind::kIs)
            return row.otherwise.empty() ? Status() : check_is(row, std::string(row.otherwise));
        if (row.otherwise.empty() || std::ranges::find(taken_, row.gguf) != taken_.end()) return {};
        const std::string key = architecture_ + "." + std::string(row.gguf);
        if (row.kind == HfKind::kText) return writer_.set_string(key, row.otherwise);
        if (row.kind == HfKind::kBool) return writer_.set_bool(key, row.otherwise == "true");
        const auto value = value_of(row.otherwise);
        if (!value) return {};  // made of a key that is not there either
        if (row.kind == HfKind::kFloat) return writer_.set_f32(key, float(*value));
        if (row.kind == HfKind::kInverseRoot) return writer_.set_f32(key, float(1.0 / std::sqrt(*value)));
        return set_whole(key, int64_t(*value));
    }

    // "4*hidden_size", "hidden_size/num_attention_heads", "qk_nope_head_dim+qk_rope_head_dim": products, and their sum.
    std::optional<double> value_of(std::string_view text) const {
        double sum = 0.0;
        for (std::string_view term : split_text(text, '+')) {
            const auto value = product(term);
            if (!value) return std::nullopt;
            sum += *value;
        }
        if (!(std::abs(sum) < 9e15)) return std::nullopt;
        return sum;
    }

    std::optional<double> product(std::string_view text) const {
        double result = 1.0;
        bool divides = false;
        while (!text.empty()) {
            const size_t end = std::min(text.find_first_of("*/"), text.size());
            const std::string_view factor = text.substr(0, end);
            double value = 0.0;
            if (factor[0] >= '0' && factor[0] <= '9') {
                value = std::strtod(std::string(factor).c_str(), nullptr);
            } else {
                const Json* found = find_json(config_, factor);
                if (!found || !found->is_number()) return std::nullopt;
                value = found->get<double>();
            }
            if (divides && value == 0.0) return std::nullopt;
            result = divides ? result / value : result * value;
            if (end == text.size()) break;
            divides = text[end] == '/';
            text.remove_prefix(end + 1);
        }
        return result;
    }

    Status set_whole(const std::string& key, int64_t value) {
        if (value < 0) return writer_.set_int(key, GgufType::kI32, std::max<int64_t>(value, INT32_MIN));
        return value > UINT32_MAX ? writer_.set_u64(key, uint64_t(value)) : writer_.set_u32(key, uint32_t(value));
    }

    // An integer, also one that was written as 128.0.
    static std::optional<int64_t> whole(const Json& value) {
        if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX)) return std::nullopt;
        if (value.is_number_integer()) return value.get<int64_t>();
        if (!value.is_number_float()) return std::nullopt;
        const double number = value.get<double>();
        if (!(std::abs(number) < 9e15) || number != std::floor(number)) return std::nullopt;
        return int64_t(number);
    }

    Status write_int(const HfKey& row, const std::string& key, const Json& value) {
        if (value.is_string() && !row.choices.empty()) {
            for (std::string_view choice : split_text(row.choices, '|')) {
                const size_t equals = choice.find('=');
                if (equals == std::string_view::npos || choice.substr(0, equals) != value.get_ref<const std::string&>())
                    continue;
                return set_whole(key, std::strtoll(std::string(choice.substr(equals + 1)).c_str(), nullptr, 10));
            }
            return wrong(row, value, fmt::format("one of {}", row.choices));
        }
        if (value.is_array()) {
            if (value.empty() || value.size() > kMaxListEntries) return wrong(row, value, "a number per layer");
            std::vector<int64_t> numbers;
            for (const Json& entry : value) {
                const auto number = whole(entry);
                if (!number || *number < 0 || *number > INT32_MAX) return wrong(row, value, "a list of integers");
                numbers.push_back(*number);
            }
            return writer_.set_ints(key, GgufType::kI32, numbers);
        }
        const auto number = whole(value);
        if (!number) return wrong(row, value, "an integer");
        return set_whole(key, *number);
    }

    Status write_float(const HfKey& row, const std::string& key, const Json& value) {
        if (value.is_array()) {
            if (value.empty() || value.size() > kMaxListEntries) return wrong(row, value, "a number per layer");
            std::vector<double> numbers;
            for (const Json& entry : value) {
                if (!entry.is_number()) return wrong(row, value, "a list of numbers");
                numbers.push_back(entry.get<double>());
            }
            return writer_.set_floats(key, GgufType::kF32, numbers);
        }
        if (!value.is_number()) return wrong(row, value, "a number");
        return writer_.set_f32(key, float(value.get<double>()));
    }

    Status check_is(const HfKey& row, const std::string& text) {
        for (std::string_view choice : split_text(row.choices, '|'))
            if (choice == text) return {};
        return fail(ErrorCode::kUnsupported, "{}: {}: {}, expected {}", where_, name_of(row), printable(text),
                    join_text(split_text(row.choices, '|'), " or "));
    }

    Result<std::vector<bool>> flags(const HfKey& row, const Json& value) const {
        if (!value.is_array() || value.empty() || value.size() > kMaxListEntries)
            return wrong(row, value, "a list with one text per layer");
        std::vector<bool> result;
        const auto choices = split_text(row.choices, '|');
        for (const Json& entry : value) {
            if (!entry.is_string() && !entry.is_number_integer() && !entry.is_boolean())
                return wrong(row, value, "a list with one text per layer");
            result.push_back(std::ranges::find(choices, std::string_view(plain_text(entry))) != choices.end());
        }
        return result;
    }

    Status write_flags(const HfKey& row, const std::string& key, const Json& value) {
        STERNA_TRY(chosen, flags(row, value));
        return writer_.set_ints(key, GgufType::kBool, std::vector<int64_t>(chosen.begin(), chosen.end()));
    }

    Status write_where(const HfKey& row, const std::string& key, const Json& value) {
        STERNA_TRY(chosen, flags(row, value));
        const auto there = value_of(row.otherwise);
        if (!there || !(*there >= 0 && *there <= INT32_MAX))
            return fail(ErrorCode::kBadFile, "{}: {}: missing, expected a number", where_, row.otherwise);
        std::vector<int64_t> values;
        for (bool is_there : chosen) values.push_back(is_there ? int64_t(*there) : 0);
        return writer_.set_ints(key, GgufType::kI32, values);
    }

    Status write_period(const HfKey& row, const std::string& key, const Json& value) {
        STERNA_TRY(chosen, flags(row, value));
        const size_t first = size_t(std::ranges::find(chosen, true) - chosen.begin());
        const size_t period = first + 1;  // none is: beyond the last layer
        for (size_t layer = 0; layer < chosen.size(); ++layer)
            if (chosen[layer] != (layer % period == period - 1))
                return fail(ErrorCode::kUnsupported, "{}: {}: layer {} breaks the order of one in {}", where_,
                            name_of(row), layer, period);
        return set_whole(key, int64_t(period));
    }

    const Json& config_;
    const std::string& where_;
    const std::string& architecture_;
    GgufWriter& writer_;
    const std::vector<std::string>& taken_;  // keys that a default does not replace
};

bool replaced(const HfKey& row, std::span<const HfKey> by) {
    return std::ranges::any_of(by, [&](const HfKey& other) { return !other.gguf.empty() && other.gguf == row.gguf; });
}

// The language model's own keys over those of the whole.
Json text_config(const Json& config) {
    for (std::string_view path : kTextConfigs) {
        const Json* inner = find_json(config, path);
        if (!inner || !inner->is_object()) continue;
        Json merged = config;
        merged.update(*inner);
        return merged;
    }
    return config;
}

struct Match {
    const Architecture* architecture = nullptr;
    std::string name, class_name;
};

std::optional<Match> find_class(std::string_view class_name) {
    for (const Architecture* architecture : all_architectures())
        for (const HfClass& known : architecture->hf.classes)
            if (known.name == class_name)
                return Match{architecture,
                             std::string(known.architecture.empty() ? architecture->name : known.architecture),
                             std::string(class_name)};
    return std::nullopt;
}

Result<Match> find_architecture_of(const Json& config, const std::string& where) {
    const Json* classes = find_json(config, "architectures");
    if (classes && classes->is_array())
        for (const Json& entry : *classes)
            if (entry.is_string())
                if (auto match = find_class(entry.get<std::string>())) return *match;
    if (classes && classes->is_array() && !classes->empty())
        return fail(ErrorCode::kUnsupported, "{}: architecture {} is not known; known are {}", where,
                    short_dump(classes->at(0)), known_hf_classes());
    return fail(ErrorCode::kBadFile, "{}: names no architecture (\"architectures\")", where);
}

// Gemma 4: the last layers, which share earlier keys and values, have feed-forward networks of twice the width.
Status write_double_widths(const Json& config, const std::string& name, GgufWriter& writer) {
    const Json* doubled = find_json(config, "use_double_wide_mlp");
    const Json* shared = find_json(config, "num_kv_shared_layers");
    const Json* layers = find_json(config, "num_hidden_layers");
    const Json* width = find_json(config, "intermediate_size");
    for (const Json* value : {shared, layers, width})
        if (!value || !value->is_number_unsigned()) return {};
    if (!doubled || *doubled != true || *shared == 0 || *layers > kMaxListEntries || *shared > *layers ||
        *width > INT32_MAX / 2)
        return {};
    std::vector<int64_t> widths(layers->get<size_t>(), width->get<int64_t>());
    for (size_t i = widths.size() - shared->get<size_t>(); i < widths.size(); ++i) widths[i] *= 2;
    return writer.set_ints(name + ".feed_forward_length", GgufType::kI32, widths);
}

// LFM2: the feed-forward width as its modules make it from the stated one; which layers attend, as older files say it.
void adapt_lfm2(Json& config) {
    const Json* adjusts = find_json(config, "block_auto_adjust_ff_dim");
    const Json* stated = find_json(config, "block_ff_dim|intermediate_size");
    const Json* multiple = find_json(config, "block_multiple_of");
    if (adjusts && *adjusts == true && stated && stated->is_number_unsigned() && *stated < INT32_MAX) {
        auto width = int64_t(2.0 * stated->get<double>() / 3.0);
        if (const Json* factor = find_json(config, "block_ffn_dim_multiplier"); factor && factor->is_number()) {
            const double wider = factor->get<double>() * double(width);
            const int64_t unit = multiple && multiple->is_number_unsigned() && *multiple < INT32_MAX
                                     ? std::max<int64_t>(1, multiple->get<int64_t>())
                                     : 1;
            if (wider >= 0 && wider < INT32_MAX) width = (int64_t(wider) + unit - 1) / unit * unit;
        }
        config["intermediate_size"] = width;
    }
    const Json* attending = find_json(config, "full_attn_idxs");
    const Json* layers = find_json(config, "num_hidden_layers");
    if (config.contains("layer_types") || !attending || !attending->is_array() || !layers ||
        !layers->is_number_unsigned() || *layers > kMaxListEntries)
        return;
    std::vector<std::string> types(layers->get<size_t>(), "conv");
    for (const Json& index : *attending)
        if (index.is_number_unsigned() && index < types.size()) types[index.get<size_t>()] = "full_attention";
    config["layer_types"] = types;
}

// Of a sentence-transformers model: {"pooling_mode_cls_token": true, ...}. Empty: not said.
std::string sentence_pooling(std::string_view text) {
    const Json pooling = Json::parse(text, nullptr, false);
    if (!pooling.is_object()) return {};
    for (const char* kind : {"cls", "mean", "lasttoken"})
        for (const char* end : {"_token", "_tokens", ""}) {
            const Json* set = find_json(pooling, fmt::format("pooling_mode_{}{}", kind, end));
            if (set && set->is_boolean() && set->get<bool>()) return kind;
        }
    return {};
}

// The maker's recommended sampling.
Status write_sampling(const Json& generation, GgufWriter& writer) {
    struct Row {
        const char *json, *gguf;
    };
    constexpr Row kRows[] = {{"temperature", "general.sampling.temp"},
                             {"top_p", "general.sampling.top_p"},
                             {"min_p", "general.sampling.min_p"},
                             {"repetition_penalty", "general.sampling.penalty_repeat"}};
    for (const Row& row : kRows)
        if (const Json* value = find_json(generation, row.json); value && value->is_number())
            STERNA_CHECK(writer.set_f32(row.gguf, float(value->get<double>())));
    if (const Json* top_k = find_json(generation, "top_k"); top_k && top_k->is_number_integer())
        STERNA_CHECK(writer.set_int("general.sampling.top_k", GgufType::kI32,
                                    std::clamp<int64_t>(top_k->get<int64_t>(), 0, INT32_MAX)));
    return {};
}

}  // namespace

std::string known_hf_classes() {
    std::vector<std::string_view> names;
    for (const Architecture* architecture : all_architectures())
        for (const HfClass& known : architecture->hf.classes) names.push_back(known.name);
    std::ranges::sort(names);
    return join_text(names, ", ");
}

Result<HfConfig> read_hf_config(const HfConfigFiles& files, const std::string& where, GgufWriter& writer) {
    const std::string_view config_text = files.config;
    if (config_text.size() > kMaxConfigBytes)
        return fail(ErrorCode::kLimit, "{}: {} bytes, expected at most {}", where, config_text.size(), kMaxConfigBytes);
    const Json whole = Json::parse(config_text, nullptr, false);
    if (!whole.is_object()) return fail(ErrorCode::kBadFile, "{}: not a JSON object", where);
    STERNA_TRY(match, find_architecture_of(whole, where));
    Json config = text_config(whole);
    // Gemma 4 as newer transformers writes it: {"5": {"head_dim": 512}, ...} for the layers that see everything.
    if (const Json* layers = find_json(config, "per_layer_config"); layers && !config.contains("global_head_dim"))
        for (const Json& layer : *layers)
            if (const Json* head = find_json(layer, "head_dim")) config["global_head_dim"] = *head;
    if (match.name == "lfm2") adapt_lfm2(config);
    if (const std::string pooling = sentence_pooling(files.pooling); !pooling.empty())
        config["sentence_pooling"] = pooling;

    HfConfig result;
    result.architecture = match.architecture;
    result.name = match.name;
    result.class_name = match.class_name;
    if (const Json* tied = find_json(config, "tie_word_embeddings"); tied && tied->is_boolean())
        result.tied = tied->get<bool>() ? HfConfig::Tied::kYes : HfConfig::Tied::kNo;

    STERNA_CHECK(writer.set_string("general.architecture", match.name));
    STERNA_CHECK(writer.set_string("general.type", "model"));
    const std::span<const HfKey> own = match.architecture->hf.keys;
    std::vector<std::string> taken;
    RowWriter rows(config, where, match.name, writer, taken);
    for (const HfKey& row : kHfCommon)
        if (!replaced(row, own)) STERNA_CHECK(rows.write(row));
    STERNA_TRY(rope_keys, write_hf_rope(config, where, result, writer));
    taken = std::move(rope_keys);
    for (const HfKey& row : own) STERNA_CHECK(rows.write(row));
    STERNA_CHECK(write_double_widths(config, match.name, writer));
    const Json generation = Json::parse(files.generation, nullptr, false);
    if (generation.is_object()) STERNA_CHECK(write_sampling(generation, writer));
    return result;
}

}  // namespace sterna
