// Vocabularies as text files and maps: tests/golden/tokenizers/*.vocab and what tests make up themselves.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/metadata.h"

namespace sterna {

// \n \r \t \\ \xAB
std::string unescape(std::string_view text);
std::vector<std::string> read_lines(const std::filesystem::path& path);

class MapMetadata : public Metadata {
public:
    std::map<std::string, std::string, std::less<>> texts;  // numbers and booleans too
    std::map<std::string, std::vector<std::string>, std::less<>> lists;
    std::map<std::string, std::vector<double>, std::less<>> numbers;

    // A line of a .vocab file: "key NAME VALUE", "bytes NAME HEX", "token TYPE SCORE TEXT", "merge TEXT".
    void add_line(const std::string& line);
    static MapMetadata load(const std::filesystem::path& path);

    bool has(std::string_view key) const override;
    std::optional<int64_t> get_int(std::string_view key) const override;
    std::optional<double> get_float(std::string_view key) const override;
    std::optional<bool> get_bool(std::string_view key) const override;
    std::optional<std::string_view> get_string(std::string_view key) const override;
    std::optional<std::vector<int64_t>> get_ints(std::string_view key) const override;
    std::optional<std::vector<double>> get_floats(std::string_view key) const override;
    std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const override;
};

}  // namespace sterna
