// Safetensors: what is written reads back; every lie in a header is named.
#include <limits>

#include "base/mapped_file.h"
#include "convert/readers.h"
#include "support.h"

namespace sterna {
namespace {

std::string error_of(std::string_view header, std::string_view data) {
    const std::string file = raw_safetensors(header, data);
    auto part = parse_safetensors(bytes_of(file), "f");
    return part ? "accepted" : part.error().message;
}

TEST(Safetensors, WritesAndReads) {
    SafetensorsWriter writer;
    const float values[] = {1, -2, 3.5f, 0, 5, 6};
    auto floats = [&](SafetensorsWriter::Sink sink) -> Status {
        const Bytes all(reinterpret_cast<const uint8_t*>(values), sizeof values);
        STERNA_CHECK(sink(all.first(5)));
        return sink(all.subspan(5));
    };
    auto bytes3 = [](SafetensorsWriter::Sink sink) { return sink(bytes_of("abc")); };
    auto nothing = [](SafetensorsWriter::Sink) -> Status { return {}; };
    ASSERT_TRUE(writer.add("a \"quoted\" näme", ElementType::kF32, {2, 3}, floats));
    ASSERT_TRUE(writer.add("bytes", ElementType::kU8, {3}, bytes3));
    ASSERT_TRUE(writer.add("empty", ElementType::kF16, {0, 7}, nothing));
    ASSERT_TRUE(writer.add("scalar", ElementType::kBool, {},
                           [](SafetensorsWriter::Sink sink) { return sink(bytes_of("\1")); }));
    auto bytes = writer.to_bytes();
    ASSERT_TRUE(bytes) << bytes.error().message;
    auto part = parse_safetensors(*bytes, "f");
    ASSERT_TRUE(part) << part.error().message;
    ASSERT_EQ(part->tensors.size(), 4u);
    EXPECT_EQ(part->metadata, (std::vector<std::pair<std::string, std::string>>{{"format", "pt"}}));
    const SafetensorsTensor* matrix = nullptr;
    for (const SafetensorsTensor& tensor : part->tensors)
        if (tensor.name == "a \"quoted\" näme") matrix = &tensor;
    ASSERT_TRUE(matrix);
    EXPECT_EQ(matrix->shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(std::memcmp(matrix->data.data(), values, sizeof values), 0);
    // Data starts at a multiple of 8.
    EXPECT_EQ(load_le<uint64_t>(bytes->data()) % 8, 0u);
}

TEST(Safetensors, WriterKeepsItsWord) {
    SafetensorsWriter writer;
    EXPECT_FALSE(writer.add("__metadata__", ElementType::kF32, {1}, {}));
    EXPECT_FALSE(writer.add("a", ElementType::kF32, {int64_t(1) << 40, int64_t(1) << 40}, {}));
    ASSERT_TRUE(
        writer.add("a", ElementType::kF32, {1}, [](SafetensorsWriter::Sink sink) { return sink(bytes_of("abc")); }));
    auto bytes = writer.to_bytes();
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().message, "a: 3 of its 4 bytes");
}

TEST(Safetensors, NamesTheLie) {
    struct Case {
        const char *header, *data, *message;
    };
    const Case cases[] = {
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd", "accepted"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   )", "abcd", "accepted"},
        {R"({})", "", "accepted"},
        {R"([])", "", "f: its header is no JSON object: not a safetensors file"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})", "abcd",
         "f: its header is not JSON: a mistake at byte 62"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} x)", "abcd",
         "f: its header is not JSON: a mistake at byte 64"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abc",
         "f: tensor 'a' lies at 0 to 4, but there are 3 bytes of data"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcdef", "f: 2 bytes follow its last tensor"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "abcd",
         "f: tensor 'a' lies at 4 to 0, but there are 4 bytes of data"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", "abcdef",
         "f: tensor 'a' starts at 2, beyond the end of the one before it (0)"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
         "abcdef", "f: tensor 'b' starts at 2, before the end of the one before it (4)"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "abcd",
         "f: tensor 'a' has 4 bytes, which do not hold [2] of type F32"},
        {R"({"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}})", "abcd",
         "f: tensor 'a' has 4 bytes, which do not hold [9223372036854775807, 4] of type F32"},
        {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", "abcd",
         "f: tensor 'a': dimension 18446744073709551615 is too large"},
        {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "abcd", "f: 'a': the number -1 in 'shape'"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775808]}})", "abcd",
         "f: tensor 'a' lies at 0 to 9223372036854775808, but there are 4 bytes of data"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,36893488147419103232]}})", "abcd",
         "f: 'a': the number 36893488147419103232 in 'data_offsets'"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", "abcd",
         "f: tensor 'a': more than 2 data offsets"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "abcd",
         "f: tensor 'a': 1 data offsets, expected 2"},
        {R"({"a":{"dtype":"F32","shape":[1]}})", "abcd", "f: tensor 'a' has no data_offsets"},
        {R"({"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}})", "abcd",
         "f: tensor 'a' is of type 'F4', which Sterna does not read"},
        {R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", "abcd", "f: 'a': a number in 'dtype'"},
        {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd",
         "f: tensor 'a': two keys 'dtype'"},
        {R"({"a":{"dtype":"F32","color":"red","shape":[1],"data_offsets":[0,4]}})", "abcd",
         "f: tensor 'a': unknown key 'color'"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})",
         "abcdef", "f: tensor 'a' occurs twice"},
        {R"({"a":{"b":{}}})", "", "f: tensor 'a': unknown key 'b'"},
        {R"({"a":{"shape":{}}})", "", "f: 'a': an object in 'shape'"},
        {R"({"a":{"shape":[[1]]}})", "", "f: 'a': a list in 'shape'"},
        {R"({"a":7})", "", "f: its header holds a number where tensors are listed"},
        {R"({"__metadata__":{"a":1}})", "", "f: '__metadata__': a number in 'a'"},
        {R"({"__metadata__":{},"__metadata__":{}})", "", "f: two __metadata__ objects"},
        {R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd",
         "f: a tensor name of 0 bytes, expected 1 to 4096"},
    };
    for (const Case& c : cases) EXPECT_EQ(error_of(c.header, c.data), c.message) << c.header;
}

TEST(Safetensors, LyingLengths) {
    auto error = [](std::string_view file) {
        auto part = parse_safetensors(bytes_of(file), "f");
        return part ? std::string("accepted") : part.error().message;
    };
    EXPECT_EQ(error("abc"), "f: 3 bytes, too short for a safetensors file");
    std::string file = raw_safetensors("{}", "");
    for (uint64_t n : {uint64_t(3), uint64_t(100'000'000)}) {
        std::memcpy(file.data(), &n, 8);
        EXPECT_EQ(error(file), fmt::format("f: ends within its header of {} bytes", n));
    }
    for (uint64_t n : {uint64_t(100'000'001), std::numeric_limits<uint64_t>::max(), uint64_t(1) << 63}) {
        std::memcpy(file.data(), &n, 8);
        EXPECT_EQ(error(file),
                  fmt::format("f: a header of {} bytes, expected at most 100000000: not a safetensors file", n));
    }
    // Deep nesting ends at its second level, however deep it goes.
    std::string deep = R"({"a":{"shape":)" + std::string(1'000'000, '[');
    EXPECT_EQ(error_of(deep, ""), "f: 'a': a list in 'shape'");
}

TEST(SafetensorsFolder, ShardsAndTheirIndex) {
    Folder folder;
    auto expect_error = [&](const std::string& part) {
        auto opened = open_safetensors(folder.string());
        ASSERT_FALSE(opened) << part;
        EXPECT_NE(opened.error().message.find(part), std::string::npos) << opened.error().message;
    };
    expect_error("holds no .safetensors file");
    write_safetensors(folder / "model-00001-of-00002.safetensors", {{"a", {{2}, {1, 2}}}});
    expect_error("model-00002-of-00002.safetensors: missing, expected 2 shards");
    write_safetensors(folder / "model-00002-of-00002.safetensors", {{"b", {{1}, {3}}}});
    auto opened = open_safetensors(folder.string());
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_TRUE((*opened)->find("b"));
    float value[1];
    ASSERT_TRUE((*opened)->read(*(*opened)->find("b"), 0, value));
    EXPECT_EQ(value[0], 3);
    // Any shard stands for all of them.
    auto by_shard = open_safetensors((folder / "model-00002-of-00002.safetensors").string());
    ASSERT_TRUE(by_shard);
    EXPECT_TRUE((*by_shard)->find("a"));

    auto index = [&](const std::string& map) {
        folder.write("model.safetensors.index.json", "{\"weight_map\":" + map + "}");
    };
    index(R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"})");
    EXPECT_TRUE(open_safetensors(folder.string()));
    index(R"({"a":"model-00002-of-00002.safetensors","b":"model-00002-of-00002.safetensors"})");
    expect_error("the index says that tensor 'a' is in model-00002-of-00002.safetensors, which does not hold it");
    index(R"({"a":"model-00001-of-00002.safetensors","c":"model-00003-of-00003.safetensors"})");
    expect_error("model-00003-of-00003.safetensors: missing, though model.safetensors.index.json names it");
    index(R"({"a":"../other.safetensors"})");
    expect_error("tensor 'a' is said to be in '../other.safetensors', expected a file name");
    index(R"({"a":7})");
    expect_error("expected a file name");
    index(R"({})");
    expect_error("names no shard");
    folder.write("model.safetensors.index.json", "{");
    expect_error("no JSON object with a weight_map");
    fs::remove(folder / "model.safetensors.index.json");
    write_safetensors(folder / "model-00002-of-00002.safetensors", {{"a", {{1}, {3}}}});
    expect_error("tensor 'a' occurs twice");
}

}  // namespace
}  // namespace sterna
