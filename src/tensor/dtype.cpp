#include "tensor/dtype.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>

#include "tensor/dtype_blocks.h"
#include "tensor/dtype_codec.h"

namespace sterna {

namespace {

using namespace detail;

constexpr DTypeTraits kTypes[] = {
    {DType::kF32, "F32", 1, 4, decode_f32, encode_f32},
    {DType::kF16, "F16", 1, 2, decode_f16, encode_f16},
    {DType::kBF16, "BF16", 1, 2, decode_bf16, encode_bf16},
    {DType::kQ4_0, "Q4_0", 32, sizeof(BlockQ4_0), decode_q4_0, encode_q4_0},
    {DType::kQ4_1, "Q4_1", 32, sizeof(BlockQ4_1), decode_q4_1, encode_q4_1},
    {DType::kQ5_0, "Q5_0", 32, sizeof(BlockQ5_0), decode_q5_0, encode_q5_0},
    {DType::kQ5_1, "Q5_1", 32, sizeof(BlockQ5_1), decode_q5_1, encode_q5_1},
    {DType::kQ8_0, "Q8_0", 32, sizeof(BlockQ8_0), decode_q8_0, encode_q8_0},
    {DType::kQ2_K, "Q2_K", 256, sizeof(BlockQ2_K), decode_q2_k, encode_q2_k},
    {DType::kQ3_K, "Q3_K", 256, sizeof(BlockQ3_K), decode_q3_k, encode_q3_k},
    {DType::kQ4_K, "Q4_K", 256, sizeof(BlockQ4_K), decode_q4_k, encode_q4_k},
    {DType::kQ5_K, "Q5_K", 256, sizeof(BlockQ5_K), decode_q5_k, encode_q5_k},
    {DType::kQ6_K, "Q6_K", 256, sizeof(BlockQ6_K), decode_q6_k, encode_q6_k},
    {DType::kIQ4_NL, "IQ4_NL", 32, sizeof(BlockIQ4_NL), decode_iq4_nl, encode_iq4_nl},
    {DType::kIQ4_XS, "IQ4_XS", 256, sizeof(BlockIQ4_XS), decode_iq4_xs, encode_iq4_xs},
    {DType::kMXFP4, "MXFP4", 32, sizeof(BlockMXFP4), decode_mxfp4, encode_mxfp4},
    {DType::kTQ1_0, "TQ1_0", 256, sizeof(BlockTQ1_0), decode_tq1_0, encode_tq1_0},
    {DType::kTQ2_0, "TQ2_0", 256, sizeof(BlockTQ2_0), decode_tq2_0, encode_tq2_0},
    {DType::kI8, "I8", 1, 1, nullptr, nullptr},
    {DType::kI16, "I16", 1, 2, nullptr, nullptr},
    {DType::kI32, "I32", 1, 4, nullptr, nullptr},
    {DType::kI64, "I64", 1, 8, nullptr, nullptr},
    {DType::kF64, "F64", 1, 8, nullptr, nullptr},
};

struct NumberedName {
    uint32_t number;
    std::string_view name;
};

// What GGUF has numbered and Sterna does not read: codebook types, run-time formats, and layouts that were withdrawn.
constexpr NumberedName kOtherTypes[] = {
    {4, "Q4_2 (retired)"},
    {5, "Q4_3 (retired)"},
    {9, "Q8_1"},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {29, "IQ1_M"},
    {31, "Q4_0_4_4 (retired)"},
    {32, "Q4_0_4_8 (retired)"},
    {33, "Q4_0_8_8 (retired)"},
    {36, "IQ4_NL_4_4 (retired)"},
    {37, "IQ4_NL_4_8 (retired)"},
    {38, "IQ4_NL_8_8 (retired)"},
    {40, "NVFP4"},
    {41, "Q1_0"},
    {42, "Q2_0"},
};

constexpr uint32_t kMaxNumber = 64;

// Row of each type number, or -1.
constexpr auto kRowOfNumber = [] {
    std::array<int8_t, kMaxNumber> rows{};
    rows.fill(-1);
    for (size_t i = 0; i < std::size(kTypes); ++i) rows[size_t(kTypes[i].type)] = int8_t(i);
    return rows;
}();

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
}

}  // namespace

const DTypeTraits* dtype_traits(DType type) {
    const uint32_t number = uint32_t(type);
    if (number >= kMaxNumber || kRowOfNumber[number] < 0) return nullptr;
    return &kTypes[kRowOfNumber[number]];
}

const DTypeTraits* dtype_by_name(std::string_view name) {
    for (const DTypeTraits& row : kTypes) {
        if (std::ranges::equal(row.name, name, [](char a, char b) { return lower(a) == lower(b); })) return &row;
    }
    return nullptr;
}

std::span<const DTypeTraits> all_dtypes() {
    return kTypes;
}

std::string dtype_name_of_number(uint32_t number) {
    if (const DTypeTraits* row = dtype_traits(DType(number))) return std::string(row->name);
    for (const NumberedName& other : kOtherTypes)
        if (other.number == number) return std::string(other.name);
    return "type " + std::to_string(number);
}

std::optional<uint64_t> dtype_bytes(DType type, uint64_t n) {
    const DTypeTraits* row = dtype_traits(type);
    if (!row || n % uint64_t(row->block_size) != 0) return std::nullopt;
    const uint64_t blocks = n / uint64_t(row->block_size);
    if (blocks > uint64_t(INT64_MAX) / uint64_t(row->block_bytes)) return std::nullopt;
    return blocks * uint64_t(row->block_bytes);
}

}  // namespace sterna
