// Bounds-checked little-endian reading of bytes that come from outside. Thread-compatible.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace sterna {

using Bytes = std::span<const uint8_t>;

static_assert(std::endian::native == std::endian::little,
              "Sterna's formats are read in place: little-endian hosts only");

template <typename T>
T load_le(const void* from) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

// A cursor over bytes. Every read either succeeds whole or returns nothing and leaves the cursor where it was.
class ByteReader {
public:
    explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

    size_t position() const { return at_; }
    size_t remaining() const { return bytes_.size() - at_; }

    template <typename T>
    std::optional<T> read() {
        if (remaining() < sizeof(T)) return std::nullopt;
        T value = load_le<T>(bytes_.data() + at_);
        at_ += sizeof(T);
        return value;
    }

    // Lifetime: the view points into the reader's bytes.
    std::optional<Bytes> read_bytes(uint64_t n) {
        if (n > remaining()) return std::nullopt;
        Bytes part = bytes_.subspan(at_, size_t(n));
        at_ += size_t(n);
        return part;
    }

    std::optional<std::string_view> read_text(uint64_t n) {
        auto part = read_bytes(n);
        if (!part) return std::nullopt;
        return std::string_view(reinterpret_cast<const char*>(part->data()), part->size());
    }

    bool skip(uint64_t n) { return read_bytes(n).has_value(); }

private:
    Bytes bytes_;
    size_t at_ = 0;
};

}  // namespace sterna
