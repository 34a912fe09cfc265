// Reading a file that gguf-py wrote, and real vocabularies.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "support/testdata.h"

namespace sterna {
namespace {

std::unique_ptr<GgufFile> golden() {
    auto file = GgufFile::open(source_path("tests/golden/gguf/all.gguf").string());
    EXPECT_TRUE(file) << file.error().message;
    return file ? std::move(*file) : nullptr;
}

TEST(GgufReader, EveryMetadataType) {
    auto file = golden();
    ASSERT_TRUE(file);
    EXPECT_EQ(file->version(), 3u);
    EXPECT_EQ(file->n_parts(), 1u);
    EXPECT_EQ(file->get_string("general.architecture"), "llama");
    EXPECT_EQ(file->get_int("t.u8"), 200);
    EXPECT_EQ(file->get_int("t.i8"), -100);
    EXPECT_EQ(file->get_int("t.u16"), 60000);
    EXPECT_EQ(file->get_int("t.i16"), -30000);
    EXPECT_EQ(file->get_int("t.u32"), 4000000000);
    EXPECT_EQ(file->get_int("t.i32"), -2000000000);
    EXPECT_EQ(file->get_int("t.u64"), std::nullopt) << "beyond int64";
    EXPECT_EQ(file->get_float("t.u64"), 0x1p63);
    EXPECT_EQ(file->get_int("t.i64"), -(int64_t(1) << 62));
    EXPECT_EQ(file->get_float("t.f32"), 1.5);
    EXPECT_EQ(file->get_float("t.f64"), 0.1);
    EXPECT_EQ(file->get_float("t.u8"), 200.0);
    EXPECT_EQ(file->get_int("t.f32"), std::nullopt);
    EXPECT_EQ(file->get_bool("t.true"), true);
    EXPECT_EQ(file->get_bool("t.false"), false);
    EXPECT_EQ(file->get_int("t.true"), 1);
    EXPECT_EQ(file->get_bool("t.u8"), std::nullopt);
    EXPECT_EQ(file->get_string("t.string"), "grüße, 世界");
    EXPECT_EQ(file->get_string("t.empty"), "");
    EXPECT_EQ(file->get_string("t.u8"), std::nullopt);
    EXPECT_EQ(file->get_strings("t.strings"), (std::vector<std::string_view>{"a", "", "<0x0A>", "▁the"}));
    EXPECT_EQ(file->get_ints("t.ints"), (std::vector<int64_t>{1, -2, 3}));
    EXPECT_EQ(file->get_floats("t.ints"), (std::vector<double>{1, -2, 3}));
    EXPECT_EQ(file->get_floats("t.floats"), (std::vector<double>{0.5, -0.25}));
    EXPECT_EQ(file->get_ints("t.bools"), (std::vector<int64_t>{1, 0, 1}));
    EXPECT_EQ(file->get_ints("t.bytes"), (std::vector<int64_t>{1, 2, 255}));
    EXPECT_EQ(file->get_ints("t.strings"), std::nullopt);
    EXPECT_EQ(file->get_strings("t.ints"), std::nullopt);
    EXPECT_FALSE(file->has("t.absent"));
    EXPECT_EQ(file->get_int("t.absent"), std::nullopt);
    EXPECT_EQ(file->get_strings("t.absent"), std::nullopt);
    EXPECT_TRUE(file->has("t.strings"));
}

TEST(GgufReader, TensorsAreFoundByName) {
    auto file = golden();
    ASSERT_TRUE(file);
    EXPECT_EQ(file->tensors().size(), all_dtypes().size());
    for (const TensorView& tensor : file->tensors()) {
        EXPECT_EQ(file->find_tensor(tensor.name), &tensor);
        EXPECT_EQ(tensor.n_dims, 2);
        EXPECT_EQ(tensor.data.size(), dtype_bytes(tensor.type, uint64_t(tensor.n_elements())));
        EXPECT_EQ(std::string("t.") + std::string(dtype_traits(tensor.type)->name), tensor.name);
    }
    EXPECT_EQ(file->find_tensor("t.Q4"), nullptr);
    EXPECT_EQ(file->find_tensor(""), nullptr);
    EXPECT_EQ(shape_text(*file->find_tensor("t.Q4_K")), "[512, 2]");
    EXPECT_EQ(load_le<int64_t>(file->find_tensor("t.I64")->data.data()), -3);
}

TEST(GgufReader, ReleaseKeepsTheBytes) {
    auto file = golden();
    ASSERT_TRUE(file);
    const TensorView* tensor = file->find_tensor("t.F32");
    std::vector<uint8_t> before(tensor->data.begin(), tensor->data.end());
    for (const TensorView& each : file->tensors()) file->release(each);
    EXPECT_TRUE(std::ranges::equal(before, tensor->data));
    TensorView foreign;
    foreign.data = before;
    file->release(foreign);  // not of this file: nothing happens
}

TEST(GgufReader, RealVocabularies) {
    auto folder = shared_testdata("vocab");
    if (!folder) GTEST_SKIP() << "no shared test data";
    size_t n_files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(*folder)) {
        if (entry.path().extension() != ".gguf") continue;
        auto file = GgufFile::open(entry.path().string());
        ASSERT_TRUE(file) << file.error().message;
        auto tokens = (*file)->get_strings("tokenizer.ggml.tokens");
        auto types = (*file)->get_ints("tokenizer.ggml.token_type");
        ASSERT_TRUE(tokens) << entry.path();
        ASSERT_TRUE(types) << entry.path();
        EXPECT_GT(tokens->size(), 30000u);
        EXPECT_EQ(tokens->size(), types->size());
        EXPECT_TRUE((*file)->tensors().empty());
        ++n_files;
    }
    EXPECT_GE(n_files, 8u);
}

}  // namespace
}  // namespace sterna
