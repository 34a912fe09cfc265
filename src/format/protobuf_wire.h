// The wire format of protocol buffers, read in place: a message is a run of fields, each a key (number and wire type) and
// a value. What the fields mean is the caller's knowledge. Nested messages, strings and packed lists are byte runs
// inside the given bytes; nothing is copied, so a file of gigabytes may be mapped. Thread-compatible.
//
//     key     varint  number << 3 | type
//     type 0  varint: 7 bits a byte, lowest first, bit 7 set on all but the last; at most 10 bytes
//     type 1  8 bytes, little-endian           type 5  4 bytes, little-endian
//     type 2  varint length, then that many bytes
//     types 3 and 4 (groups, gone since proto3) are refused
// Source: the encoding page of the protocol buffers documentation.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace sterna {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct WireField {
    uint32_t number = 0;
    WireType type = WireType::kVarint;
    uint64_t value = 0;  // of kVarint, kFixed64 and kFixed32; negative integers are two's complement in 64 bits
    Bytes bytes;         // of kBytes

    std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
    int64_t integer() const { return int64_t(value); }
    bool is_float() const { return type == WireType::kFixed32; }
    float as_float() const { return std::bit_cast<float>(uint32_t(value)); }
};

// Returns: a varint, or nothing when it is cut off or longer than 64 bits.
inline std::optional<uint64_t> read_varint(ByteReader& reader) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        const auto byte = reader.read<uint8_t>();
        if (!byte || (shift == 63 && *byte > 1)) return std::nullopt;
        value |= uint64_t(*byte & 127) << shift;
        if (*byte < 128) return value;
    }
    return std::nullopt;
}

// for (WireField field; reader.next(field);) ...; then failed() says whether the message ended early.
class WireReader {
public:
    explicit WireReader(Bytes message) : reader_(message) {}

    bool next(WireField& field) {
        if (failed_ || reader_.remaining() == 0) return false;
        failed_ = !read(field);
        return !failed_;
    }

    // The bytes are no message: a cut-off value, a group, or field number 0. position() is near the fault.
    bool failed() const { return failed_; }
    size_t position() const { return reader_.position(); }

private:
    bool read(WireField& field) {
        const auto key = read_varint(reader_);
        if (!key || *key >> 3 == 0 || *key >> 3 > 0x1fffffff) return false;
        field = WireField{.number = uint32_t(*key >> 3), .type = WireType(*key & 7), .value = 0, .bytes = {}};
        switch (field.type) {
            case WireType::kVarint:
                return assign(read_varint(reader_), field.value);
            case WireType::kFixed64:
                return assign(reader_.read<uint64_t>(), field.value);
            case WireType::kFixed32:
                return assign(reader_.read<uint32_t>(), field.value);
            case WireType::kBytes: {
                const auto size = read_varint(reader_);
                return size && assign(reader_.read_bytes(*size), field.bytes);
            }
        }
        return false;
    }

    template <typename From, typename To>
    static bool assign(const std::optional<From>& from, To& to) {
        if (from) to = *from;
        return from.has_value();
    }

    ByteReader reader_;
    bool failed_ = false;
};

// Appends a field of a repeated integer, packed or single. Returns: false when it is broken, of another type, or `to`
// would hold more than `limit` values.
inline bool append_integers(const WireField& field, std::vector<int64_t>& to, size_t limit) {
    if (field.type == WireType::kVarint) {
        if (to.size() >= limit) return false;
        to.push_back(field.integer());
        return true;
    }
    if (field.type != WireType::kBytes) return false;
    ByteReader packed(field.bytes);
    while (packed.remaining() > 0) {
        const auto value = read_varint(packed);
        if (!value || to.size() >= limit) return false;
        to.push_back(int64_t(*value));
    }
    return true;
}

}  // namespace sterna
