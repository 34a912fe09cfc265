// What the reader refuses, and what it says.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "format/gguf.h"
#include "raw_gguf.h"

namespace sterna {
namespace {

std::string outcome(const std::vector<uint8_t>& bytes, const GgufLimits& limits = {}) {
    auto file = GgufFile::from_bytes(bytes, "f", limits);
    return file ? "accepted" : file.error().message;
}

std::string outcome(const RawGguf& raw, const GgufLimits& limits = {}) {
    return outcome(raw.bytes(), limits);
}

std::vector<uint8_t> bytes_of(std::string_view text) {
    return {text.begin(), text.end()};
}

TEST(GgufReject, WhatIsNoGguf) {
    EXPECT_EQ(outcome(std::vector<uint8_t>()), "f: 0 bytes, too short for a GGUF file");
    EXPECT_EQ(outcome(bytes_of("GGU")), "f: 3 bytes, too short for a GGUF file");
    EXPECT_EQ(outcome(bytes_of("PK\x03\x04rest")), "f: not a GGUF file: starts with \"PK??\"");
    EXPECT_EQ(outcome(bytes_of("GGUF\x03")),
              "f: truncated in the header: 4 more bytes expected at byte 4, found 1 (file of 5 bytes)");
}

TEST(GgufReject, Versions) {
    EXPECT_EQ(outcome(RawGguf(2, 0, 0)), "accepted");
    EXPECT_EQ(outcome(RawGguf(3, 0, 0)), "accepted");
    EXPECT_EQ(outcome(RawGguf(1, 0, 0)), "f: GGUF version 1, expected 2 or 3: convert the model again");
    EXPECT_EQ(outcome(RawGguf(4, 0, 0)), "f: GGUF version 4, expected 2 or 3");
    EXPECT_EQ(outcome(RawGguf(0, 0, 0)), "f: GGUF version 0, expected 2 or 3");
    EXPECT_EQ(outcome(RawGguf(0x03000000, 0, 0)), "f: a big-endian GGUF file, expected little-endian");
}

TEST(GgufReject, AbsurdCounts) {
    EXPECT_EQ(outcome(RawGguf(3, uint64_t(1) << 60, 0)),
              "f: 1152921504606846976 tensors announced, at most 131072 are read");
    EXPECT_EQ(outcome(RawGguf(3, 0, ~uint64_t(0))),
              "f: 18446744073709551615 metadata keys announced, at most 65536 are read");
    EXPECT_EQ(outcome(RawGguf(3, 100000, 0)), "f: 100000 tensors announced, which do not fit into the file's 24 bytes");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("k", GgufType::kArray).put(uint32_t(8)).put(uint64_t(1) << 60)),
              "f: truncated in k: 1152921504606846976 elements expected, 0 bytes found");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("k", GgufType::kArray).put(uint32_t(10)).put(~uint64_t(0))),
              "f: truncated in k: 18446744073709551615 elements of 8 bytes expected, 0 bytes found");
    EXPECT_EQ(
        outcome(RawGguf(3, 0, 1).put(~uint64_t(0)).put(uint64_t(0))),
        "f: truncated in metadata key 1 of 1: 18446744073709551615 more bytes expected at byte 32, found 8 (file of "
        "40 bytes)");
    GgufLimits limits;
    limits.max_key_bytes = 3;
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("long", GgufType::kU8).put(uint8_t(1)), limits),
              "f: metadata key 1 of 1 of 4 bytes, at most 3 are read");
}

TEST(GgufReject, Values) {
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("k", GgufType::kBool).put(uint8_t(1))), "accepted");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("k", GgufType::kBool).put(uint8_t(2))),
              "f: k: bool of value 2, expected 0 or 1");
    EXPECT_EQ(
        outcome(RawGguf(3, 0, 1).key("k", GgufType::kArray).put(uint32_t(7)).put(uint64_t(2)).put(uint16_t(0x301))),
        "f: k: bool of value 3, expected 0 or 1");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("k", GgufType(13)).put(uint64_t(0))),
              "f: k: metadata type 13, expected 0 to 12");
    EXPECT_EQ(outcome(RawGguf(3, 0, 2).key("k", GgufType::kU8).put(uint8_t(1)).key("k", GgufType::kU8).put(uint8_t(1))),
              "f: metadata key k occurs twice");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("k\n\xc3\xa9", GgufType(99)).put(uint64_t(0))),
              "f: k???: metadata type 99, expected 0 to 12");
}

TEST(GgufReject, NestedArrays) {
    auto nested = [](int depth) {
        RawGguf raw(3, 0, 1);
        raw.key("k", GgufType::kArray);
        for (int i = 1; i < depth; ++i) raw.put(uint32_t(9)).put(uint64_t(1));
        return raw.put(uint32_t(0)).put(uint64_t(1)).put(uint8_t(5));
    };
    EXPECT_EQ(outcome(nested(1)), "accepted");
    EXPECT_EQ(outcome(nested(2)), "accepted");
    EXPECT_EQ(outcome(nested(3)), "f: k: arrays nested deeper than 2");
    EXPECT_EQ(outcome(nested(10000)), "f: k: arrays nested deeper than 2");
}

TEST(GgufReject, Alignment) {
    auto with = [](uint32_t alignment) {
        return RawGguf(3, 0, 1).key("general.alignment", GgufType::kU32).put(alignment);
    };
    EXPECT_EQ(outcome(with(64)), "accepted");
    for (uint32_t wrong : {0u, 3u, 48u, 1u << 21, 0x80000000u})
        EXPECT_EQ(outcome(with(wrong)),
                  "f: general.alignment is " + std::to_string(wrong) + ", expected a power of two up to 1048576");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("general.alignment", GgufType::kU64).put(uint64_t(64))), "accepted");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("general.alignment", GgufType::kF32).put(32.0f)),
              "f: general.alignment is no integer");
}

TEST(GgufReject, TensorShapesAndTypes) {
    auto one = [](const std::vector<int64_t>& shape, uint32_t type, uint64_t offset = 0) {
        return outcome(RawGguf(3, 1, 0).tensor("w", shape, type, offset).data(4096));
    };
    EXPECT_EQ(one({32, 2}, 0), "accepted");
    EXPECT_EQ(one({}, 0), "accepted") << "a scalar";
    EXPECT_EQ(one({1, 1, 1, 1, 1}, 0), "f: w: 5 dimensions, at most 4 are read");
    EXPECT_EQ(one({32, 0}, 0), "f: w: dimension 1 is 0, expected at least 1");
    EXPECT_EQ(one({32, -1}, 0), "f: w: dimension 1 is -1, expected at least 1");
    EXPECT_EQ(one({int64_t(1) << 40, int64_t(1) << 40}, 0), "f: w: the product of its dimensions overflows");
    EXPECT_EQ(one({INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, 0), "f: w: the product of its dimensions overflows");
    EXPECT_EQ(one({int64_t(1) << 61}, 28), "f: w: shape [2305843009213693952] is too large");
    EXPECT_EQ(one({33}, 2), "f: w: rows of 33 elements, expected a multiple of 32 for Q4_0");
    EXPECT_EQ(one({32, 8}, 12), "f: w: rows of 32 elements, expected a multiple of 256 for Q4_K")
        << "rows, not the whole";
    EXPECT_EQ(one({1024}, 0, 16), "f: w: offset 16, expected a multiple of 32");
    EXPECT_EQ(one({1024}, 0, uint64_t(0) - 32), "f: w: offset 18446744073709551584 is outside of any file");
    const std::pair<uint32_t, std::string> refused[] = {
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
        {38, "IQ4_NL_8_8 (retired)"},
        {40, "NVFP4"},
        {41, "Q1_0"},
        {42, "Q2_0"},
        {99, "type 99"},
    };
    for (const auto& [number, name] : refused)
        EXPECT_EQ(one({256}, number), "f: w: " + name + " is not a type that Sterna reads");
}

TEST(GgufReject, Placement) {
    auto two = [](uint64_t first, uint64_t second, size_t n_bytes) {
        return outcome(RawGguf(3, 2, 0).tensor("a", {16}, 0, first).tensor("b", {16}, 0, second).data(n_bytes));
    };
    EXPECT_EQ(two(0, 64, 128), "accepted");
    EXPECT_EQ(two(64, 0, 128), "accepted") << "any order";
    EXPECT_EQ(two(64, 0, 1000), "accepted") << "bytes after the last tensor";
    EXPECT_EQ(two(0, 32, 128), "f: b: offset 32 lies inside a, which ends at 64");
    EXPECT_EQ(two(0, 0, 128), "f: b: offset 0 lies inside a, which ends at 64");
    EXPECT_EQ(two(0, 64, 127), "f: truncated: 224 bytes expected up to the end of b, found 223");
    EXPECT_EQ(two(0, 1u << 20, 128), "f: truncated: 1048736 bytes expected up to the end of b, found 224");
    EXPECT_EQ(outcome(RawGguf(3, 2, 0).tensor("a", {16}, 0, 0).tensor("a", {16}, 0, 64).data(128)),
              "f: tensor a occurs twice");
    EXPECT_EQ(outcome(RawGguf(3, 1, 0).tensor("a", {16}, 0, 0)),
              "f: truncated: 128 bytes expected up to the end of a, found 57");
}

TEST(GgufReject, SplitKeys) {
    auto split = [](uint16_t number, uint16_t count) {
        return outcome(
            RawGguf(3, 0, 2).key("split.no", GgufType::kU16).put(number).key("split.count", GgufType::kU16).put(count));
    };
    EXPECT_EQ(split(0, 1), "accepted");
    EXPECT_EQ(split(0, 0), "accepted") << "as written by tools that do not split";
    EXPECT_EQ(split(3, 2), "f: split.no is 3, expected less than split.count = 2");
    EXPECT_EQ(split(0, 2), "f: split.count is 2, but 1 part(s) are given");
    EXPECT_EQ(split(0, 2000), "f: split.count is 2000, at most 1024 parts are read");
    EXPECT_EQ(outcome(RawGguf(3, 0, 1).key("split.count", GgufType::kI32).put(int32_t(-1))),
              "f: split.count is not a count");
}

TEST(GgufReject, ArraysBeyondTheLimitAreNotCopied) {
    GgufLimits limits;
    limits.max_array_elements = 3;
    RawGguf raw(3, 0, 2);
    raw.key("four", GgufType::kArray).put(uint32_t(0)).put(uint64_t(4)).put(uint32_t(0));
    raw.key("three", GgufType::kArray).put(uint32_t(0)).put(uint64_t(3)).put(uint8_t(1)).put(uint16_t(0));
    auto file = GgufFile::from_bytes(raw.bytes(), "f", limits);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ((*file)->get_ints("four"), std::nullopt);
    EXPECT_EQ((*file)->get_ints("three"), (std::vector<int64_t>{1, 0, 0}));
    EXPECT_EQ((*file)->find_value("four")->n_elements, 4u);
}

}  // namespace
}  // namespace sterna
