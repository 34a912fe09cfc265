// Small helpers over JSON and "a|b|c" lists that the converter's parts share. Private to convert/. Functions without state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace sterna {

inline std::vector<std::string_view> split_text(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const size_t end = std::min(text.find(separator), text.size());
        parts.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

template <typename Texts>
std::string join_text(const Texts& texts, std::string_view separator) {
    std::string all;
    for (const auto& text : texts) {
        if (!all.empty()) all += separator;
        all += text;
    }
    return all;
}

// "a|b.c": the first of these that is there and not null, or null. A dot steps into an object.
inline const nlohmann::json* find_json(const nlohmann::json& object, std::string_view paths) {
    for (std::string_view path : split_text(paths, '|')) {
        const nlohmann::json* at = &object;
        for (std::string_view step : split_text(path, '.')) {
            if (!at->is_object()) {
                at = nullptr;
                break;
            }
            const auto found = at->find(std::string(step));
            at = found == at->end() ? nullptr : &*found;
            if (!at) break;
        }
        if (at && at != &object && !at->is_null()) return at;
    }
    return nullptr;
}

// A value as one would write it, without the quotation marks of a text.
inline std::string plain_text(const nlohmann::json& value) {
    if (value.is_string()) return value.get<std::string>();
    return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A value for a message, cut when long.
inline std::string short_dump(const nlohmann::json& value) {
    constexpr size_t kShown = 80;
    std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (text.size() > kShown) text = text.substr(0, kShown) + "...";
    return text;
}

// "a*c|exact": * is any text.
inline bool matches_pattern(std::string_view pattern, std::string_view text) {
    const size_t star = pattern.find('*');
    if (star == std::string_view::npos) return pattern == text;
    if (!text.starts_with(pattern.substr(0, star))) return false;
    pattern.remove_prefix(star + 1);
    text.remove_prefix(star);
    if (pattern.empty()) return true;
    for (size_t at = 0; at <= text.size(); ++at)
        if (matches_pattern(pattern, text.substr(at))) return true;
    return false;
}

}  // namespace sterna
