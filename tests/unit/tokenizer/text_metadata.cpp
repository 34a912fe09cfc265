#include "text_metadata.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace sterna {

std::string unescape(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            out += text[i];
            continue;
        }
        char c = text[++i];
        if (c == 'x') {
            out += char(std::strtol(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16));
            i += 2;
        } else {
            out += c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
        }
    }
    return out;
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

void MapMetadata::add_line(const std::string& line) {
    std::istringstream words(line);
    std::string kind, name, value;
    words >> kind;
    if (kind == "key") {
        words >> name >> value;
        texts[name] = value;
    } else if (kind == "bytes") {
        words >> name >> value;
        for (size_t i = 0; i + 1 < value.size(); i += 2)
            numbers[name].push_back(double(std::stoi(value.substr(i, 2), nullptr, 16)));
    } else if (kind == "token") {
        double type = 0;
        std::string score;
        words >> type >> score;
        words.get();
        std::getline(words, value);
        lists["tokenizer.ggml.tokens"].push_back(unescape(value));
        numbers["tokenizer.ggml.token_type"].push_back(type);
        numbers["tokenizer.ggml.scores"].push_back(std::strtod(score.c_str(), nullptr));
    } else if (kind == "merge") {
        lists["tokenizer.ggml.merges"].push_back(unescape(line.substr(6)));
    }
}

MapMetadata MapMetadata::load(const std::filesystem::path& path) {
    MapMetadata metadata;
    for (const std::string& line : read_lines(path)) metadata.add_line(line);
    return metadata;
}

bool MapMetadata::has(std::string_view key) const {
    return texts.contains(key) || lists.contains(key) || numbers.contains(key);
}

std::optional<int64_t> MapMetadata::get_int(std::string_view key) const {
    auto at = texts.find(key);
    return at == texts.end() ? std::nullopt : std::optional<int64_t>(std::strtoll(at->second.c_str(), nullptr, 10));
}

std::optional<double> MapMetadata::get_float(std::string_view key) const {
    auto at = texts.find(key);
    return at == texts.end() ? std::nullopt : std::optional<double>(std::strtod(at->second.c_str(), nullptr));
}

std::optional<bool> MapMetadata::get_bool(std::string_view key) const {
    auto at = texts.find(key);
    return at == texts.end() ? std::nullopt : std::optional<bool>(at->second == "1");
}

std::optional<std::string_view> MapMetadata::get_string(std::string_view key) const {
    auto at = texts.find(key);
    return at == texts.end() ? std::nullopt : std::optional<std::string_view>(at->second);
}

std::optional<std::vector<int64_t>> MapMetadata::get_ints(std::string_view key) const {
    auto at = numbers.find(key);
    if (at == numbers.end()) return std::nullopt;
    return std::vector<int64_t>(at->second.begin(), at->second.end());
}

std::optional<std::vector<double>> MapMetadata::get_floats(std::string_view key) const {
    auto at = numbers.find(key);
    return at == numbers.end() ? std::nullopt : std::optional(at->second);
}

std::optional<std::vector<std::string_view>> MapMetadata::get_strings(std::string_view key) const {
    auto at = lists.find(key);
    if (at == lists.end()) return std::nullopt;
    return std::vector<std::string_view>(at->second.begin(), at->second.end());
}

}  // namespace sterna
