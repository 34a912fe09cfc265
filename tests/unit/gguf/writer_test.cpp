// Writing, and reading back what was written. tools/check_gguf_writer.py lets gguf-py read the file of
// WritesWhatGgufPyReads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "support/testdata.h"

namespace sterna {
namespace {

namespace fs = std::filesystem;

class GgufWriterTest : public testing::Test {
protected:
    void SetUp() override {
        const auto* info = testing::UnitTest::GetInstance()->current_test_info();
        folder_ = fs::temp_directory_path() / (fmt::format("sterna_gguf_{}_{}", info->name(), getpid()));
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    std::vector<std::string> names_in_folder() const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename().string());
        std::sort(names.begin(), names.end());
        return names;
    }

    fs::path folder_;
};

std::vector<uint8_t> pattern(size_t n, uint8_t seed) {
    std::vector<uint8_t> bytes(n);
    for (size_t i = 0; i < n; ++i) bytes[i] = uint8_t(i * 7 + seed);
    return bytes;
}

std::vector<uint8_t> file_bytes(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void set_every_type(GgufWriter& writer) {
    ASSERT_TRUE(writer.set_string("general.architecture", "llama"));
    ASSERT_TRUE(writer.set_int("t.u8", GgufType::kU8, 200));
    ASSERT_TRUE(writer.set_int("t.i8", GgufType::kI8, -100));
    ASSERT_TRUE(writer.set_int("t.u16", GgufType::kU16, 60000));
    ASSERT_TRUE(writer.set_int("t.i16", GgufType::kI16, -30000));
    ASSERT_TRUE(writer.set_u32("t.u32", 4000000000));
    ASSERT_TRUE(writer.set_int("t.i32", GgufType::kI32, -2000000000));
    ASSERT_TRUE(writer.set_u64("t.u64", (uint64_t(1) << 63) + 5));
    ASSERT_TRUE(writer.set_int("t.i64", GgufType::kI64, -(int64_t(1) << 62)));
    ASSERT_TRUE(writer.set_f32("t.f32", 1.5f));
    ASSERT_TRUE(writer.set_float("t.f64", GgufType::kF64, 0.1));
    ASSERT_TRUE(writer.set_bool("t.true", true));
    ASSERT_TRUE(writer.set_bool("t.false", false));
    ASSERT_TRUE(writer.set_string("t.string", "grüße, 世界"));
    ASSERT_TRUE(writer.set_string("t.empty", ""));
    ASSERT_TRUE(writer.set_strings("t.strings", std::vector<std::string_view>{"a", "", "<0x0A>", "▁the"}));
    ASSERT_TRUE(writer.set_ints("t.ints", GgufType::kI32, std::vector<int64_t>{1, -2, 3}));
    ASSERT_TRUE(writer.set_floats("t.floats", GgufType::kF32, std::vector<double>{0.5, -0.25}));
    ASSERT_TRUE(writer.set_ints("t.bools", GgufType::kBool, std::vector<int64_t>{1, 0, 1}));
    ASSERT_TRUE(writer.set_ints("t.bytes", GgufType::kU8, std::vector<int64_t>{1, 2, 255}));
}

TEST_F(GgufWriterTest, WritesWhatGgufPyReads) {
    GgufWriter writer;
    set_every_type(writer);
    const std::vector<int64_t> shape = {512, 2};
    std::vector<float> x(1024);
    for (size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 2654435761u % 2001) - 1000) * 0.001f;
    std::vector<std::vector<uint8_t>> kept;
    for (const DTypeTraits& type : all_dtypes()) {
        if (!type.encode) continue;
        std::vector<uint8_t> bytes(size_t(*dtype_bytes(type.type, x.size())));
        type.encode(x.data(), bytes.data(), int64_t(x.size()), nullptr);
        std::vector<float> values(x.size());
        type.decode(bytes.data(), values.data(), int64_t(x.size()));
        kept.push_back(std::move(bytes));
        ASSERT_TRUE(writer.add_tensor("t." + std::string(type.name), type.type, shape, kept.back()));
        const auto* raw = reinterpret_cast<const uint8_t*>(values.data());
        kept.emplace_back(raw, raw + values.size() * sizeof(float));
        ASSERT_TRUE(writer.add_tensor("values." + std::string(type.name), DType::kF32, shape, kept.back()));
    }
    const char* wanted = std::getenv("STERNA_WRITE_GGUF");
    const std::string path = wanted ? wanted : (folder_ / "all.gguf").string();
    auto written = writer.write(path);
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(*written, std::vector<std::string>{path});

    auto file = GgufFile::open(path);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ((*file)->version(), 3u);
    EXPECT_EQ((*file)->tensors().size(), kept.size());
    for (size_t i = 0; i < kept.size(); ++i)
        EXPECT_TRUE(std::ranges::equal((*file)->tensors()[i].data, kept[i])) << (*file)->tensors()[i].name;
}

TEST_F(GgufWriterTest, SameMetadataAsGgufPyWrites) {
    GgufWriter writer;
    set_every_type(writer);
    auto theirs = GgufFile::open(source_path("tests/golden/gguf/all.gguf").string());
    ASSERT_TRUE(theirs);
    auto bytes = writer.to_bytes();
    ASSERT_TRUE(bytes);
    auto ours = GgufFile::from_bytes(*bytes, "ours");
    ASSERT_TRUE(ours) << ours.error().message;
    size_t n_compared = 0;
    for (const GgufValue& value : (*ours)->values()) {
        const GgufValue* other = (*theirs)->find_value(value.key);
        ASSERT_TRUE(other) << value.key;
        EXPECT_EQ(value.type, other->type) << value.key;
        EXPECT_EQ(value.n_elements, other->n_elements) << value.key;
        if (value.type == GgufType::kArray) {
            EXPECT_EQ(value.element_type, other->element_type) << value.key;
        }
        EXPECT_TRUE(std::ranges::equal(value.payload, other->payload)) << value.key;
        ++n_compared;
    }
    EXPECT_EQ(n_compared, 20u);
}

TEST_F(GgufWriterTest, CopyOfAGgufPyFileIsTheSameBytes) {
    const std::vector<uint8_t> original = file_bytes(source_path("tests/golden/gguf/all.gguf"));
    auto file = GgufFile::from_bytes(original, "original");
    ASSERT_TRUE(file);
    GgufWriter writer;
    for (const GgufValue& value : (*file)->values()) ASSERT_TRUE(writer.set_value(value));
    for (const TensorView& tensor : (*file)->tensors()) {
        const std::span<const int64_t> shape(tensor.shape.data(), size_t(tensor.n_dims));
        ASSERT_TRUE(writer.add_tensor(std::string(tensor.name), tensor.type, shape, tensor.data));
    }
    auto copy = writer.to_bytes();
    ASSERT_TRUE(copy);
    EXPECT_EQ(*copy, original);
}

TEST_F(GgufWriterTest, SettingAgainReplacesAndRemoveRemoves) {
    GgufWriter writer;
    ASSERT_TRUE(writer.set_u32("a", 1));
    ASSERT_TRUE(writer.set_u32("b", 2));
    ASSERT_TRUE(writer.set_u32("c", 3));
    ASSERT_TRUE(writer.set_string("a", "new"));
    writer.remove("b");
    writer.remove("b");
    ASSERT_TRUE(writer.set_u32("c", 4));
    auto bytes = writer.to_bytes();
    auto file = GgufFile::from_bytes(*bytes, "f");
    ASSERT_TRUE(file);
    ASSERT_EQ((*file)->values().size(), 2u);
    EXPECT_EQ((*file)->values()[0].key, "a");
    EXPECT_EQ((*file)->get_string("a"), "new");
    EXPECT_EQ((*file)->get_int("c"), 4);
}

TEST_F(GgufWriterTest, ProducersAndAlignment) {
    const std::vector<uint8_t> data = pattern(40, 1);
    for (uint32_t alignment : {8u, 32u, 64u, 4096u}) {
        GgufWriter writer;
        ASSERT_TRUE(writer.set_u32("general.alignment", alignment));
        for (int i = 0; i < 3; ++i) {
            auto producer = [&](GgufWriter::Sink sink) -> Status {
                STERNA_CHECK(sink(Bytes(data).first(13)));
                return sink(Bytes(data).subspan(13));
            };
            ASSERT_TRUE(writer.add_tensor(fmt::format("t{}", i), DType::kF32, std::vector<int64_t>{5, 2}, producer));
        }
        auto bytes = writer.to_bytes();
        ASSERT_TRUE(bytes);
        auto file = GgufFile::from_bytes(*bytes, "f");
        ASSERT_TRUE(file) << file.error().message;
        EXPECT_EQ((*file)->alignment(), alignment);
        EXPECT_EQ(bytes->size() % alignment, 0u);
        for (const TensorView& tensor : (*file)->tensors()) {
            EXPECT_EQ(size_t(tensor.data.data() - bytes->data()) % alignment, 0u);
            EXPECT_TRUE(std::ranges::equal(tensor.data, data));
        }
    }
}

TEST_F(GgufWriterTest, SplitFilesReadBackFromAnyPart) {
    const std::vector<uint8_t> data = pattern(4096, 3);
    GgufWriter writer;
    ASSERT_TRUE(writer.set_string("general.architecture", "llama"));
    ASSERT_TRUE(writer.set_int("split.count", GgufType::kU16, 9));  // of some source: not of this file
    ASSERT_TRUE(writer.set_u32("general.alignment", 64));
    for (int i = 0; i < 7; ++i)
        ASSERT_TRUE(writer.add_tensor(fmt::format("t{}", i), DType::kF32, std::vector<int64_t>{1024}, data));
    auto paths = writer.write((folder_ / "m.gguf").string(), {.max_part_bytes = 3 * 4096});
    ASSERT_TRUE(paths) << paths.error().message;
    EXPECT_EQ(names_in_folder(),
              (std::vector<std::string>{"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}));
    for (const std::string& path : *paths) {
        auto file = GgufFile::open(path);
        ASSERT_TRUE(file) << file.error().message;
        EXPECT_EQ((*file)->n_parts(), 3u);
        EXPECT_EQ((*file)->tensors().size(), 7u);
        EXPECT_EQ((*file)->get_string("general.architecture"), "llama");
        uint64_t sum = 0;
        for (const std::string& each : *paths) sum += fs::file_size(each);
        EXPECT_EQ((*file)->file_bytes(), sum);
        for (int i = 0; i < 7; ++i) {
            const TensorView* tensor = (*file)->find_tensor(fmt::format("t{}", i));
            ASSERT_TRUE(tensor);
            EXPECT_TRUE(std::ranges::equal(tensor->data, data));
            (*file)->release(*tensor);
        }
    }
    // In memory, as a browser has them; and in the wrong order.
    std::vector<std::vector<uint8_t>> contents;
    for (const std::string& path : *paths) contents.push_back(file_bytes(path));
    EXPECT_TRUE(GgufFile::from_parts({{"1", contents[0]}, {"2", contents[1]}, {"3", contents[2]}}));
    auto wrong = GgufFile::from_parts({{"1", contents[0]}, {"3", contents[2]}, {"2", contents[1]}});
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().message, "3: split.no is 2, expected 1");
    auto one = GgufFile::from_bytes(contents[0], "one");
    ASSERT_FALSE(one);
    EXPECT_EQ(one.error().message, "one: split.count is 3, but 1 part(s) are given");

    fs::remove((*paths)[1]);
    auto missing = GgufFile::open((*paths)[0]);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(missing.error().message, (*paths)[1] + ": part 2 of 3 of " + (*paths)[0] + ": missing");

    fs::rename((*paths)[0], folder_ / "renamed.gguf");
    auto renamed = GgufFile::open((folder_ / "renamed.gguf").string());
    ASSERT_FALSE(renamed);
    EXPECT_NE(renamed.error().message.find("does not end in -00001-of-00003.gguf"), std::string::npos);
}

TEST_F(GgufWriterTest, NothingIsLeftWhenAProducerFails) {
    const std::vector<uint8_t> data = pattern(40, 1);
    const std::string path = (folder_ / "m.gguf").string();
    std::ofstream(path) << "old";
    auto fails = [](GgufWriter::Sink) -> Status { return fail(ErrorCode::kIo, "source: unreadable"); };
    auto too_much = [&](GgufWriter::Sink sink) -> Status {
        STERNA_CHECK(sink(data));
        return sink(data);
    };
    auto too_little = [&](GgufWriter::Sink sink) -> Status { return sink(Bytes(data).first(8)); };
    const std::pair<GgufWriter::Producer, std::string> cases[] = {
        {fails, "source: unreadable"},
        {too_much, "t: more than the expected 40 bytes were produced"},
        {too_little, "t: 8 bytes were produced, expected 40"},
    };
    for (const auto& [producer, message] : cases) {
        GgufWriter writer;
        ASSERT_TRUE(writer.add_tensor("first", DType::kF32, std::vector<int64_t>{10}, data));
        ASSERT_TRUE(writer.add_tensor("t", DType::kF32, std::vector<int64_t>{10}, producer));
        for (uint64_t max_part_bytes : {uint64_t(0), uint64_t(64)}) {
            auto written = writer.write(path, {.max_part_bytes = max_part_bytes});
            ASSERT_FALSE(written);
            EXPECT_EQ(written.error().message, message);
            EXPECT_EQ(names_in_folder(), std::vector<std::string>{"m.gguf"});
        }
    }
    EXPECT_EQ(file_bytes(path).size(), 3u) << "the old file is untouched";
    GgufWriter writer;
    auto written = writer.write((folder_ / "absent" / "m.gguf").string());
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kIo);
}

TEST_F(GgufWriterTest, RefusesWhatNoReaderWouldTake) {
    GgufWriter writer;
    const std::vector<uint8_t> data = pattern(4096, 0);
    const std::vector<int64_t> shape = {10};
    auto message = [](const Status& status) { return status ? std::string("accepted") : status.error().message; };
    EXPECT_EQ(message(writer.set_int("k", GgufType::kU8, 256)), "k: 256 does not fit into u8");
    EXPECT_EQ(message(writer.set_int("k", GgufType::kF32, 1)), "k: 1 does not fit into f32");
    EXPECT_EQ(message(writer.set_ints("k", GgufType::kBool, std::vector<int64_t>{2})), "k: 2 does not fit into bool");
    EXPECT_EQ(message(writer.set_float("k", GgufType::kU8, 0.5)), "k: 0.5 does not fit into u8");
    EXPECT_FALSE(writer.set_u32("", 1));
    EXPECT_FALSE(writer.set_u32(std::string(65536, 'k'), 1));
    EXPECT_EQ(message(writer.add_tensor("t", DType::kF32, shape, data)), "t: 4096 bytes given, expected 40");
    EXPECT_EQ(message(writer.add_tensor("t", DType::kQ4_K, shape, data)),
              "t: rows of 10 elements, expected a multiple of 256 for Q4_K");
    EXPECT_EQ(message(writer.add_tensor("t", DType(16), shape, data)), "t: IQ2_XXS is not a type that Sterna writes");
    EXPECT_EQ(message(writer.add_tensor("t", DType::kF32, std::vector<int64_t>{}, data)),
              "t: 0 dimensions, expected 1 to 4");
    EXPECT_FALSE(writer.add_tensor("t", DType::kF32, std::vector<int64_t>{0}, Bytes()));
    EXPECT_FALSE(
        writer.add_tensor("t", DType::kF32, std::vector<int64_t>{int64_t(1) << 40, int64_t(1) << 40}, Bytes()));
    EXPECT_FALSE(writer.add_tensor(std::string(64, 't'), DType::kF32, shape, Bytes(data).first(40)));
    EXPECT_FALSE(writer.add_tensor("t", DType::kF32, shape, GgufWriter::Producer()));
    EXPECT_TRUE(writer.add_tensor("t", DType::kF32, shape, Bytes(data).first(40)));
    EXPECT_EQ(message(writer.add_tensor("t", DType::kF32, shape, Bytes(data).first(40))), "t: a tensor added twice");
    for (uint32_t alignment : {0u, 4u, 48u, 1u << 30}) {
        ASSERT_TRUE(writer.set_u32("general.alignment", alignment));
        EXPECT_FALSE(writer.to_bytes()) << alignment;
    }
}

}  // namespace
}  // namespace sterna
