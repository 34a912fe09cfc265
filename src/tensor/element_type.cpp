#include "tensor/element_type.h"

#include <bit>
#include <cmath>
#include <limits>

#include <fmt/ranges.h>

#include "base/half.h"

namespace sterna {

namespace {

struct Row {
    std::string_view name;
    int bytes;
    DType exact;
    bool stored;
};

// In the order of ElementType.
constexpr Row kRows[] = {
    {"F64", 8, DType::kF32, false},      {"F32", 4, DType::kF32, true},      {"F16", 2, DType::kF16, true},
    {"BF16", 2, DType::kBF16, true},     {"F8_E4M3", 1, DType::kF16, false}, {"F8_E5M2", 1, DType::kF16, false},
    {"F8_E8M0", 1, DType::kBF16, false}, {"I64", 8, DType::kI64, true},      {"I32", 4, DType::kI32, true},
    {"I16", 2, DType::kI16, true},       {"I8", 1, DType::kI8, true},        {"U64", 8, DType::kF32, false},
    {"U32", 4, DType::kF32, false},      {"U16", 2, DType::kF32, false},     {"U8", 1, DType::kF16, false},
    {"BOOL", 1, DType::kF16, false},
};

const Row& row_of(ElementType type) {
    return kRows[size_t(type)];
}

template <typename T, typename ToFloat>
void read_all(const uint8_t* from, std::span<float> to, ToFloat to_float) {
    for (size_t i = 0; i < to.size(); ++i) to[i] = to_float(load_le<T>(from + i * sizeof(T)));
}

template <typename T>
void read_numbers(const uint8_t* from, std::span<float> to) {
    read_all<T>(from, to, [](T value) { return float(value); });
}

}  // namespace

int element_bytes(ElementType type) {
    return row_of(type).bytes;
}
std::string_view element_name(ElementType type) {
    return row_of(type).name;
}
DType element_exact(ElementType type) {
    return row_of(type).exact;
}
bool element_is_stored(ElementType type) {
    return row_of(type).stored;
}

float e4m3_to_float(uint8_t byte) {
    if ((byte & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
    const int exponent = (byte >> 3) & 15, mantissa = byte & 7;
    const float magnitude = exponent == 0
                                ? float(mantissa) * 0x1p-9f
                                : std::bit_cast<float>(uint32_t(exponent + 120) << 23 | uint32_t(mantissa) << 20);
    return byte & 0x80 ? -magnitude : magnitude;
}

float e8m0_to_float(uint8_t byte) {
    if (byte == 255) return std::numeric_limits<float>::quiet_NaN();
    return std::bit_cast<float>(byte == 0 ? 0x00400000u : uint32_t(byte) << 23);
}

void read_elements(ElementType type, Bytes from, int64_t first, std::span<float> to) {
    const uint8_t* at = from.data() + size_t(first) * size_t(element_bytes(type));
    switch (type) {
        case ElementType::kF64:
            return read_numbers<double>(at, to);
        case ElementType::kF32:
            return read_numbers<float>(at, to);
        case ElementType::kF16:
            return read_all<uint16_t>(at, to, half_to_float);
        case ElementType::kBF16:
            return read_all<uint16_t>(at, to, bfloat_to_float);
        case ElementType::kF8E4M3:
            return read_all<uint8_t>(at, to, e4m3_to_float);
        case ElementType::kF8E5M2:
            return read_all<uint8_t>(at, to, [](uint8_t byte) { return half_to_float(uint16_t(byte << 8)); });
        case ElementType::kF8E8M0:
            return read_all<uint8_t>(at, to, e8m0_to_float);
        case ElementType::kI64:
            return read_numbers<int64_t>(at, to);
        case ElementType::kI32:
            return read_numbers<int32_t>(at, to);
        case ElementType::kI16:
            return read_numbers<int16_t>(at, to);
        case ElementType::kI8:
            return read_numbers<int8_t>(at, to);
        case ElementType::kU64:
            return read_numbers<uint64_t>(at, to);
        case ElementType::kU32:
            return read_numbers<uint32_t>(at, to);
        case ElementType::kU16:
            return read_numbers<uint16_t>(at, to);
        case ElementType::kU8:
            return read_numbers<uint8_t>(at, to);
        case ElementType::kBool:
            return read_all<uint8_t>(at, to, [](uint8_t byte) { return byte ? 1.0f : 0.0f; });
    }
}

int64_t element_count(std::span<const int64_t> shape) {
    constexpr int64_t kMost = int64_t(1) << 62;
    int64_t n = 1;
    bool empty = false;
    for (int64_t extent : shape) {
        if (extent < 0) return -1;
        if (extent == 0) {
            empty = true;
            continue;
        }
        if (n > kMost / extent) return -1;
        n *= extent;
    }
    return empty ? 0 : n;
}

std::string shape_text(std::span<const int64_t> shape) {
    return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace sterna
