// A table of a TOML file whose keys are asked for one by one, so that what is left over can be named. Private to the
// recipe's reader: it includes toml++. Thread-compatible.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "train/recipe.h"

namespace sterna::train {

// The first mistake wins: later calls return defaults. A key that is absent counts as one only when nothing else is wrong,
// for it may be there under a misspelt name.
class RecipeErrors {
public:
    explicit RecipeErrors(std::string path) : path_(std::move(path)) {}

    void report(const toml::node* at, std::string_view key, std::string message) {
        Status& status = at ? mistake_ : absence_;
        if (status.has_value())
            status = fail(ErrorCode::kBadArgument, "{}:{} {}: {}", path_,
                          at ? fmt::format("{}:", at->source().begin.line) : "", key, message);
    }
    const Status& status() const { return mistake_ ? absence_ : mistake_; }

private:
    std::string path_;
    Status mistake_, absence_;
};

class RecipeSection {
public:
    using Identity = std::vector<std::pair<std::string, std::string>>;

    // `table` may be null: the section is absent. `identity` gets every key with its value, unless null.
    RecipeSection(const toml::table* table, std::string name, RecipeErrors& errors, Identity* identity)
        : table_(table), name_(std::move(name)), errors_(errors), identity_(identity) {}

    bool has(std::string_view key) const { return table_ && table_->contains(key); }
    const toml::node* node(std::string_view key);

    int64_t integer(std::string_view key, int64_t otherwise, int64_t least, int64_t most);
    double number(std::string_view key, double otherwise, double least, double most);
    bool flag(std::string_view key, bool otherwise);
    std::string text(std::string_view key, std::string otherwise = {});
    // One of these words; the first is the default.
    size_t choice(std::string_view key, std::vector<std::string_view> words);
    std::vector<std::string> texts(std::string_view key, std::vector<std::string> otherwise = {});
    // Not remembered as part of the identity.
    RecipeSection& not_identity() {
        identity_ = nullptr;
        return *this;
    }
    void remember(std::string_view key, std::string value);

    void wrong(std::string_view key, std::string message);
    std::string full(std::string_view key) const {
        return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
    }

    // To be called last: names a key that nobody asked for.
    void finish(const std::vector<std::string_view>& also = {});

private:
    const toml::table* table_;
    std::string name_;
    RecipeErrors& errors_;
    Identity* identity_;
    std::vector<std::string> known_;
};

std::string_view toml_type_name(const toml::node& node);
// Of the words, the one with the fewest edits; empty when there is none.
std::string_view nearest_word(std::string_view word, const std::vector<std::string>& words);

}  // namespace sterna::train
