// Decoders against values that gguf-py computed (tools/make_gguf_golden.py): the same bits.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "support/testdata.h"
#include "tensor/dtype.h"
#include "tensor/dtype_blocks.h"

namespace sterna {
namespace {

uint64_t fnv1a(Bytes bytes) {
    uint64_t h = 0xcbf29ce484222325u;
    for (uint8_t b : bytes) h = (h ^ b) * 0x100000001b3u;
    return h;
}

TEST(Decode, EveryTypeAgreesWithGgufPy) {
    auto file = GgufFile::open(source_path("tests/golden/gguf/all.gguf").string());
    ASSERT_TRUE(file) << file.error().message;
    std::ifstream expected(source_path("tests/golden/gguf/expected.txt"));
    ASSERT_TRUE(expected);
    size_t n_checked = 0;
    for (std::string line; std::getline(expected, line);) {
        if (line.empty() || line[0] == '#') continue;
        std::istringstream fields(line);
        std::string name, type;
        uint64_t hash = 0;
        fields >> name >> type >> std::hex >> hash;
        const TensorView* tensor = (*file)->find_tensor(name);
        ASSERT_TRUE(tensor) << name;
        const DTypeTraits* traits = dtype_traits(tensor->type);
        ASSERT_TRUE(traits);
        EXPECT_EQ(traits->name, type);
        std::vector<float> values(size_t(tensor->n_elements()));
        traits->decode(tensor->data.data(), values.data(), tensor->n_elements());
        size_t at = 0;
        for (uint32_t bits = 0; fields >> bits; at += 37)
            EXPECT_EQ(std::bit_cast<uint32_t>(values[at]), bits) << name << " element " << at << " is " << values[at];
        EXPECT_GE(at, values.size());
        EXPECT_EQ(fnv1a({reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4}), hash) << name;
        ++n_checked;
    }
    size_t n_decoders = 0;
    for (const DTypeTraits& row : all_dtypes()) n_decoders += row.decode != nullptr;
    EXPECT_EQ(n_checked, n_decoders) << "a type without a reference";
}

TEST(DType, NamesAndNumbers) {
    for (const DTypeTraits& row : all_dtypes()) {
        EXPECT_EQ(dtype_traits(row.type), &row);
        EXPECT_EQ(dtype_by_name(row.name), &row);
        EXPECT_EQ(dtype_name_of_number(uint32_t(row.type)), row.name);
    }
    EXPECT_EQ(dtype_by_name("q4_k"), dtype_traits(DType::kQ4_K));
    EXPECT_EQ(dtype_by_name("Q4"), nullptr);
    EXPECT_EQ(dtype_by_name(""), nullptr);
    EXPECT_EQ(dtype_traits(DType(4)), nullptr);
    EXPECT_EQ(dtype_traits(DType(0xffffffffu)), nullptr);
    EXPECT_EQ(dtype_name_of_number(16), "IQ2_XXS");
    EXPECT_EQ(dtype_name_of_number(31), "Q4_0_4_4 (retired)");
    EXPECT_EQ(dtype_name_of_number(77), "type 77");
}

TEST(DType, EveryNumberUpTo42HasAName) {
    for (uint32_t number = 0; number <= 42; ++number)
        EXPECT_NE(dtype_name_of_number(number).substr(0, 5), "type ") << number;
}

TEST(DType, Bytes) {
    EXPECT_EQ(dtype_bytes(DType::kQ4_K, 512), 288u);
    EXPECT_EQ(dtype_bytes(DType::kQ4_K, 511), std::nullopt);
    EXPECT_EQ(dtype_bytes(DType::kF32, 0), 0u);
    EXPECT_EQ(dtype_bytes(DType::kF32, uint64_t(1) << 62), std::nullopt);
    EXPECT_EQ(dtype_bytes(DType::kMXFP4, 64), 34u);
    EXPECT_EQ(dtype_bytes(DType(5), 32), std::nullopt);
}

TEST(DTypeBlocks, PackedScalesCoverEveryBit) {
    // Setting one bit of the packed bytes changes exactly one bit of one scale or min, and no two bits the same one.
    std::vector<int> seen_k(16 * 6), seen_q3(16 * 6);
    for (int bit = 0; bit < 96; ++bit) {
        uint8_t packed[12] = {};
        packed[bit / 8] = uint8_t(1 << (bit % 8));
        for (int j = 0; j < 8; ++j) {
            const ScaleMin sm = k_scale_min(packed, j);
            for (int b = 0; b < 6; ++b) {
                seen_k[size_t(j * 12 + b)] += sm.scale >> b & 1;
                seen_k[size_t(j * 12 + 6 + b)] += sm.min >> b & 1;
            }
        }
        for (int k = 0; k < 16; ++k)
            for (int b = 0; b < 6; ++b) seen_q3[size_t(k * 6 + b)] += (q3k_scale(packed, k) + 32) >> b & 1;
    }
    EXPECT_EQ(seen_k, std::vector<int>(96, 1));
    EXPECT_EQ(seen_q3, std::vector<int>(96, 1));
}

}  // namespace
}  // namespace sterna
