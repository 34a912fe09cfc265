#include "train/recipe_section.h"

#include <algorithm>

namespace sterna::train {

size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        next[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                next[j] = std::min(next[j], before[j - 2] + 1);
        }
        before.swap(row);
        row.swap(next);
    }
    return row[b.size()];
}

std::string_view nearest_word(std::string_view word, const std::vector<std::string>& words) {
    std::string_view best;
    size_t least = size_t(-1);
    for (const std::string& each : words)
        if (const size_t distance = edit_distance(word, each); distance < least) {
            least = distance;
            best = each;
        }
    return best;
}

std::string_view toml_type_name(const toml::node& node) {
    if (node.is_table()) return "a table";
    if (node.is_array()) return "a list";
    if (node.is_string()) return "a text";
    if (node.is_integer()) return "an integer";
    if (node.is_floating_point()) return "a number";
    if (node.is_boolean()) return "true or false";
    return "a date or time";
}

const toml::node* RecipeSection::node(std::string_view key) {
    known_.emplace_back(key);
    return table_ ? table_->get(key) : nullptr;
}

void RecipeSection::wrong(std::string_view key, std::string message) {
    errors_.report(table_ ? table_->get(key) : nullptr, full(key), std::move(message));
}

void RecipeSection::remember(std::string_view key, std::string value) {
    if (identity_) identity_->emplace_back(full(key), std::move(value));
}

int64_t RecipeSection::integer(std::string_view key, int64_t otherwise, int64_t least, int64_t most) {
    int64_t value = otherwise;
    if (const toml::node* at = node(key)) {
        // 30e6 is a floating-point number in TOML, and an integer to its writer.
        const auto number = at->value<double>();
        if (!at->is_number() || !number || (!at->is_integer() && *number != double(int64_t(*number)))) {
            wrong(key, fmt::format("{}, expected an integer", toml_type_name(*at)));
            return otherwise;
        }
        value = at->is_integer() ? *at->value<int64_t>() : int64_t(*number);
        if (value < least || value > most) {
            wrong(key, fmt::format("{}, expected {} to {}", value, least, most));
            return otherwise;
        }
    }
    remember(key, std::to_string(value));
    return value;
}

double RecipeSection::number(std::string_view key, double otherwise, double least, double most) {
    double value = otherwise;
    if (const toml::node* at = node(key)) {
        if (!at->is_number()) {
            wrong(key, fmt::format("{}, expected a number", toml_type_name(*at)));
            return otherwise;
        }
        value = *at->value<double>();
        if (!(value >= least && value <= most)) {
            wrong(key, fmt::format("{}, expected {} to {}", value, least, most));
            return otherwise;
        }
    }
    remember(key, fmt::format("{}", value));
    return value;
}

bool RecipeSection::flag(std::string_view key, bool otherwise) {
    bool value = otherwise;
    if (const toml::node* at = node(key)) {
        if (!at->is_boolean())
            wrong(key, fmt::format("{}, expected true or false", toml_type_name(*at)));
        else
            value = *at->value<bool>();
    }
    remember(key, value ? "true" : "false");
    return value;
}

std::string RecipeSection::text(std::string_view key, std::string otherwise) {
    std::string value = std::move(otherwise);
    if (const toml::node* at = node(key)) {
        if (!at->is_string())
            wrong(key, fmt::format("{}, expected a text", toml_type_name(*at)));
        else
            value = *at->value<std::string>();
    }
    remember(key, value);
    return value;
}

size_t RecipeSection::choice(std::string_view key, std::vector<std::string_view> words) {
    const std::string value = text(key, std::string(words[0]));
    const auto at = std::find(words.begin(), words.end(), value);
    if (at == words.end()) {
        std::string list;
        for (std::string_view word : words)
            list += fmt::format("{}\"{}\"", list.empty() ? "" : word == words.back() ? " or " : ", ", word);
        wrong(key, fmt::format("\"{}\", expected {}", value, list));
        return 0;
    }
    return size_t(at - words.begin());
}

std::vector<std::string> RecipeSection::texts(std::string_view key, std::vector<std::string> otherwise) {
    std::vector<std::string> values = std::move(otherwise);
    if (const toml::node* at = node(key)) {
        const toml::array* list = at->as_array();
        values.clear();
        if (!list) wrong(key, fmt::format("{}, expected a list of texts", toml_type_name(*at)));
        for (size_t i = 0; list && i < list->size(); ++i) {
            if ((*list)[i].is_string())
                values.push_back(*(*list)[i].value<std::string>());
            else
                wrong(key, fmt::format("its entry {} is {}, expected a text", i + 1, toml_type_name((*list)[i])));
        }
    }
    std::string all;
    for (const std::string& value : values) all += value + "\n";
    remember(key, all);
    return values;
}

void RecipeSection::finish(const std::vector<std::string_view>& also) {
    if (!table_) return;
    for (std::string_view word : also) known_.emplace_back(word);
    for (const auto& [key, value] : *table_) {
        if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
        errors_.report(&value, full(key.str()),
                       fmt::format("no such key; the nearest is {}", nearest_word(key.str(), known_)));
        return;
    }
}

}  // namespace sterna::train
