// The storage types of tensors. One row of a table per type: how many elements a block holds, how many bytes it takes,
// how it is decoded to float and encoded from float. The numbers are GGUF's. Byte layouts are drawn in dtype_blocks.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace sterna {

enum class DType : uint32_t {
    kF32 = 0,
    kF16 = 1,
    kQ4_0 = 2,
    kQ4_1 = 3,
    kQ5_0 = 6,
    kQ5_1 = 7,
    kQ8_0 = 8,
    kQ2_K = 10,
    kQ3_K = 11,
    kQ4_K = 12,
    kQ5_K = 13,
    kQ6_K = 14,
    kIQ4_NL = 20,
    kIQ4_XS = 23,
    kI8 = 24,
    kI16 = 25,
    kI32 = 26,
    kI64 = 27,
    kF64 = 28,
    kBF16 = 30,
    kTQ1_0 = 34,
    kTQ2_0 = 35,
    kMXFP4 = 39,
};

struct DTypeTraits {
    DType type;
    std::string_view name;  // "Q4_K"
    int block_size;         // elements
    int block_bytes;
    // n is a multiple of block_size. Null for the integer types and F64, which only carry data.
    void (*decode)(const uint8_t* from, float* to, int64_t n);
    // The reference encoder. `importance` (n weights, or null) is the mean square activation of each column.
    void (*encode)(const float* from, uint8_t* to, int64_t n, const float* importance);
};

// Returns: the row of a supported type, or null.
const DTypeTraits* dtype_traits(DType type);
const DTypeTraits* dtype_by_name(std::string_view name);  // case-insensitive
std::span<const DTypeTraits> all_dtypes();

// The name of any type number GGUF ever used ("IQ2_XXS", "Q4_0_4_4 (retired)"), for messages; "type 77" for others.
std::string dtype_name_of_number(uint32_t number);

// Returns: bytes of n elements; nothing when n is no multiple of the block or the size overflows.
std::optional<uint64_t> dtype_bytes(DType type, uint64_t n);

// Whether none of the values is infinite or no number.
bool all_finite(std::span<const float> values);

}  // namespace sterna
