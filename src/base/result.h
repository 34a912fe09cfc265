// Errors are values. A function that can fail on what comes from outside (file, prompt, schema, peer) returns Result<T>.
// The message starts with the subject and says what was wanted and what was found:
// "blk.3.attn_q.weight: shape [64, 32], expected [64, 64]". It ends without a full stop.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace sterna {

enum class ErrorCode {
    kBadArgument,  // the caller's values make no sense
    kBadFile,      // a file breaks its format
    kUnsupported,  // well-formed, but not something Sterna does
    kNotFound,     // a file, key or name that is not there
    kLimit,        // a named limit would be exceeded
    kOutOfMemory,
    kIo,         // the system refused a read or a write
    kCancelled,  // the caller asked to stop
};

struct Error {
    ErrorCode code;
    std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// fail(ErrorCode::kBadFile, "{}: magic {:08x}, expected GGUF", path, magic)
template <typename... Args>
std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

}  // namespace sterna

// Binds the value of a Result to a new variable, or returns its error from the enclosing function.
#define STERNA_TRY(name, expression)                              \
    auto name##_result = (expression);                            \
    if (!name##_result) [[unlikely]]                              \
        return std::unexpected(std::move(name##_result).error()); \
    auto name = std::move(*name##_result)

// The same for a Status, or where the value is not wanted.
#define STERNA_CHECK(expression)                                          \
    do {                                                                  \
        if (auto check_result = (expression); !check_result) [[unlikely]] \
            return std::unexpected(std::move(check_result).error());      \
    } while (false)
