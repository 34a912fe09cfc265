// Damaged GGUF files: each is refused with a sentence, or safe to read in every part.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "corrupt/mutate/gguf_mutator.h"
#include "corrupt/touch_gguf.h"

namespace sterna {
namespace {

TEST(CorruptGguf, TheUndamagedFileIsAccepted) {
    EXPECT_TRUE(read_and_touch(small_gguf()));
}

TEST(CorruptGguf, EveryTruncation) {
    const std::vector<uint8_t> valid = small_gguf();
    const auto file = GgufFile::from_bytes(valid, "valid");
    ASSERT_TRUE(file);
    const TensorView& last = (*file)->tensors().back();
    const size_t needed = size_t(last.data.data() + last.data.size() - valid.data());
    for (size_t n = 0; n <= valid.size(); ++n) EXPECT_EQ(read_and_touch(Bytes(valid).first(n)), n >= needed) << n;
}

TEST(CorruptGguf, EveryBit) {
    std::vector<uint8_t> bytes = small_gguf();
    size_t n_refused = 0;
    for (size_t i = 0; i < bytes.size() * 8; ++i) {
        bytes[i / 8] ^= uint8_t(1u << (i % 8));
        n_refused += !read_and_touch(bytes);
        bytes[i / 8] ^= uint8_t(1u << (i % 8));
    }
    EXPECT_GT(n_refused, 1000u);
}

TEST(CorruptGguf, ExtremeNumbersAtEveryPlace) {
    const std::vector<uint8_t> valid = small_gguf();
    const uint64_t extremes[] = {0,
                                 1,
                                 0x7fffffff,
                                 0xffffffffu,
                                 uint64_t(1) << 60,
                                 uint64_t(INT64_MAX),
                                 ~uint64_t(0),
                                 ~uint64_t(0) - 31,
                                 valid.size()};
    for (uint64_t value : extremes) {
        for (size_t at = 0; at + 8 <= valid.size(); ++at) {
            for (size_t width : {4, 8}) {
                std::vector<uint8_t> bytes = valid;
                std::memcpy(bytes.data() + at, &value, width);
                read_and_touch(bytes);
            }
        }
    }
}

TEST(CorruptGguf, SeededMutations) {
    GgufMutator mutator(small_gguf(), 20260301);
    size_t n_accepted = 0;
    for (int i = 0; i < 50000; ++i) n_accepted += read_and_touch(mutator.next());
    EXPECT_GT(n_accepted, 5000u) << "the mutations must reach behind the checks";
    EXPECT_LT(n_accepted, 45000u);
}

}  // namespace
}  // namespace sterna
