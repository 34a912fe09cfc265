// Checkpoints of every kind, written by the packages that define it (tools/make_checkpoint_golden.py), read to the last bit.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include <gtest/gtest.h>

#include "base/sha256.h"
#include "convert/checkpoint.h"
#include "convert/lossless.h"
#include "support/testdata.h"
#include "tensor/dtype_blocks.h"

namespace sterna {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string shape_of(const CheckpointTensor& tensor) {
    std::string text;
    for (int64_t extent : tensor.shape) text += (text.empty() ? "" : ",") + std::to_string(extent);
    return text.empty() ? "-" : text;
}

std::string hash_of(const std::vector<float>& values) {
    Sha256 hash;
    hash.update(values.data(), values.size() * sizeof(float));
    return hex_text(hash.finish());
}

// In pieces of this many values.
std::vector<float> read_in_pieces(const Checkpoint& checkpoint, const CheckpointTensor& tensor, size_t piece) {
    std::vector<float> values(size_t(tensor.n_elements()));
    for (size_t at = 0; at < values.size(); at += piece) {
        const std::span<float> to(values.data() + at, std::min(piece, values.size() - at));
        if (!checkpoint.read(tensor, int64_t(at), to)) return {};
    }
    return values;
}

TEST(Lossless, Mxfp4TransposedAndEdges) {
    auto opened = open_checkpoint(source_path("tests/golden/checkpoints/mxfp4-experts").string());
    ASSERT_TRUE(opened) << opened.error().message;
    auto checkpoint = unpack_checkpoint(std::move(*opened), "");
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const CheckpointTensor* experts = (*checkpoint)->find("model.layers.0.mlp.experts.gate_up_proj");
    ASSERT_NE(experts, nullptr);
    const std::vector<float> values = read_in_pieces(**checkpoint, *experts, 1000);
    const size_t inputs = 64, outputs = 12;
    ASSERT_EQ(values.size(), 2 * inputs * outputs);
    for (size_t expert = 0; expert < 2; ++expert) {
        for (size_t output = 0; output < outputs; ++output) {
            std::vector<float> row(inputs), back(inputs);
            for (size_t i = 0; i < inputs; ++i) row[i] = values[(expert * inputs + i) * outputs + output];
            std::vector<uint8_t> blocks(*dtype_bytes(DType::kMXFP4, inputs));
            ASSERT_TRUE(encode_lossless(DType::kMXFP4, row.data(), blocks.data(), int64_t(inputs)));
            dtype_traits(DType::kMXFP4)->decode(blocks.data(), back.data(), int64_t(inputs));
            EXPECT_EQ(back, row);
        }
    }
    // Every single value at the ends of the range of scales, alone in its block.
    for (int exponent : {0, 1, 2, 3, 127, 252}) {
        for (int code = 1; code < 8; ++code) {
            BlockMXFP4 block{uint8_t(exponent), {uint8_t(code)}};
            std::vector<float> row(32), back(32);
            dtype_traits(DType::kMXFP4)->decode(reinterpret_cast<const uint8_t*>(&block), row.data(), 32);
            uint8_t again[sizeof block];
            ASSERT_TRUE(encode_lossless(DType::kMXFP4, row.data(), again, 32)) << exponent << " " << code;
            dtype_traits(DType::kMXFP4)->decode(again, back.data(), 32);
            EXPECT_EQ(back, row) << exponent << " " << code;
        }
    }
}

TEST(Lossless, RefusesWhatIsOnNoGrid) {
    std::vector<float> values(256, 1.0f);
    std::vector<uint8_t> blocks(1024);
    for (DType type : {DType::kQ4_0, DType::kQ8_0, DType::kMXFP4, DType::kTQ2_0}) {
        values[3] = 1.0f;
        EXPECT_TRUE(encode_lossless(type, values.data(), blocks.data(), 256));
        values[3] = 0.7071f;
        EXPECT_FALSE(encode_lossless(type, values.data(), blocks.data(), 256));
        values[3] = std::numeric_limits<float>::infinity();
        EXPECT_FALSE(encode_lossless(type, values.data(), blocks.data(), 256));
    }
    EXPECT_FALSE(encode_lossless(DType::kQ4_K, values.data(), blocks.data(), 256));
}

class GoldenCheckpoint : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenCheckpoint, IsWhatItsMakersSay) {
    const fs::path folder = source_path("tests/golden/checkpoints/" + GetParam());
    const fs::path single = folder / "model.bin";
    auto opened = open_checkpoint(fs::exists(single) ? single.string() : folder.string());
    ASSERT_TRUE(opened) << opened.error().message;
    auto checkpoint = unpack_checkpoint(std::move(*opened), text_of(folder / "config.json"));
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;

    std::istringstream expected(text_of(folder / "expected.txt"));
    size_t n_expected = 0;
    for (std::string line; std::getline(expected, line); ++n_expected) {
        std::istringstream words(line);
        std::string name, exact, shape, hash;
        words >> name >> exact >> shape >> hash;
        const CheckpointTensor* tensor = (*checkpoint)->find(name);
        ASSERT_NE(tensor, nullptr) << name;
        EXPECT_EQ(dtype_name_of_number(uint32_t(tensor->exact)), exact) << name;
        EXPECT_EQ(shape_of(*tensor), shape) << name;
        const std::vector<float> values = read_in_pieces(**checkpoint, *tensor, size_t(1) << 30);
        EXPECT_EQ(hash_of(values), hash) << line << " starts with " << (values.empty() ? 0.0f : values[0]);
        // Any piece is part of the same whole.
        EXPECT_EQ(hash_of(read_in_pieces(**checkpoint, *tensor, 7)), hash) << name;
        EXPECT_EQ(hash_of(read_in_pieces(**checkpoint, *tensor, 161)), hash) << name;
        const DTypeTraits* traits = dtype_traits(tensor->exact);
        const bool along_rows = !tensor->shape.empty() && tensor->shape.back() % traits->block_size == 0;
        if (traits->block_size > 1 && along_rows) {
            std::vector<uint8_t> blocks(*dtype_bytes(tensor->exact, values.size()));
            std::vector<float> back(values.size());
            ASSERT_TRUE(encode_lossless(tensor->exact, values.data(), blocks.data(), int64_t(values.size()))) << name;
            traits->decode(blocks.data(), back.data(), int64_t(back.size()));
            EXPECT_EQ(back, values) << name;
        }
        if (!tensor->stored.empty()) {
            EXPECT_EQ(tensor->stored.size(), *dtype_bytes(tensor->exact, uint64_t(tensor->n_elements()))) << name;
        }
        (*checkpoint)->release(*tensor);
        EXPECT_EQ(hash_of(read_in_pieces(**checkpoint, *tensor, 161)), hash) << name << " after release";
    }
    EXPECT_EQ((*checkpoint)->tensors().size(), n_expected);
}

std::vector<std::string> golden_kinds() {
    std::vector<std::string> kinds;
    for (const auto& entry : fs::directory_iterator(source_path("tests/golden/checkpoints"))) {
        if (fs::exists(entry.path() / "expected.txt")) kinds.push_back(entry.path().filename().string());
    }
    std::ranges::sort(kinds);
    return kinds;
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenCheckpoint, ::testing::ValuesIn(golden_kinds()), [](const auto& kind) {
    std::string name = kind.param;
    std::ranges::replace(name, '-', '_');
    return name;
});

}  // namespace
}  // namespace sterna
