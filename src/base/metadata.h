// Key-value facts about a model, whatever file they come from. Readers (format/) implement it; model/ and text/ consume it,
// so neither knows a file format. Immutable after load; share freely.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sterna {

class Metadata {
public:
    virtual ~Metadata() = default;

    virtual bool has(std::string_view key) const = 0;
    // Any integer type, or a bool as 0/1. Nothing when absent, of another kind, or out of int64's range.
    virtual std::optional<int64_t> get_int(std::string_view key) const = 0;
    // f32 or f64, or an integer.
    virtual std::optional<double> get_float(std::string_view key) const = 0;
    virtual std::optional<bool> get_bool(std::string_view key) const = 0;
    // Lifetime: the views live as long as the file.
    virtual std::optional<std::string_view> get_string(std::string_view key) const = 0;
    virtual std::optional<std::vector<int64_t>> get_ints(std::string_view key) const = 0;
    virtual std::optional<std::vector<double>> get_floats(std::string_view key) const = 0;
    virtual std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const = 0;
};

}  // namespace sterna
