// The converter against transformers, without it: tests/golden/models holds a GGUF file for each tiny model, made from
// transformers' weights in memory; tests/golden/hf what its save_pretrained() wrote for the same model, weights as hashes.
// Written back from the GGUF file, the checkpoint must have those hashes; converted again, give that GGUF file.
#include <sstream>

#include "base/sha256.h"
#include "convert/hf_export.h"
#include "harness.h"
#include "support.h"
#include "support/testdata.h"

namespace sterna {
namespace {

class HfGolden : public testing::TestWithParam<const char*> {
protected:
    std::string name() const { return GetParam(); }
    fs::path golden(const char* file) const { return source_path("tests/golden/hf/" + name() + "/" + file); }
    fs::path gguf() const { return source_path("tests/golden/models/" + name() + ".gguf"); }
};

std::map<std::string, std::string> wanted_hashes(const fs::path& path) {
    std::map<std::string, std::string> wanted;
    std::istringstream lines(read_file(path));
    std::string tensor, shape, hash;
    while (lines >> tensor >> shape >> hash) wanted[tensor] = shape + " " + hash;
    return wanted;
}

std::map<std::string, std::string> hashes_of(const fs::path& path) {
    const std::string bytes = read_file(path);
    std::map<std::string, std::string> found;
    auto part = parse_safetensors(bytes_of(bytes), "exported");
    EXPECT_TRUE(part) << part.error().message;
    if (!part) return found;
    for (const SafetensorsTensor& tensor : part->tensors) {
        EXPECT_EQ(tensor.type, ElementType::kF32) << tensor.name;
        std::string shape;
        for (int64_t extent : tensor.shape) shape += (shape.empty() ? "" : "x") + std::to_string(extent);
        Sha256 hash;
        hash.update(tensor.data);
        found[tensor.name] = shape + " " + hex_text(hash.finish());
    }
    return found;
}

// Every tensor of the golden file but its reference outputs, and none besides.
void expect_same_tensors(const GgufFile& found, const GgufFile& wanted) {
    size_t n = 0;
    for (const TensorView& tensor : wanted.tensors()) {
        if (tensor.name.starts_with("golden.")) continue;
        ++n;
        const TensorView* other = found.find_tensor(tensor.name);
        ASSERT_TRUE(other) << tensor.name;
        EXPECT_EQ(shape_text(*other), shape_text(tensor)) << tensor.name;
        ASSERT_EQ(other->data.size(), tensor.data.size()) << tensor.name;
        // Those that the converter computes are rounded once more, or once less.
        const bool computed = tensor.name.starts_with("rope_");
        for (int64_t i = 0; i < tensor.n_elements(); ++i) {
            const float a = load_le<float>(other->data.data() + size_t(i) * 4);
            const float b = load_le<float>(tensor.data.data() + size_t(i) * 4);
            if (computed) {
                ASSERT_NEAR(a, b, 1e-6f * std::abs(b)) << tensor.name << " at " << i;
            } else {
                ASSERT_EQ(a, b) << tensor.name << " at " << i;
            }
        }
    }
    EXPECT_EQ(found.tensors().size(), n);
}

std::vector<float> outputs(const std::vector<uint8_t>& bytes, const std::string& name,
                           std::span<const int32_t> tokens) {
    TestModel model = load_test_model(bytes, name);
    return model.model ? run_all(*model.model, tokens, {}) : std::vector<float>();
}

TEST_P(HfGolden, ThereAndBack) {
    auto file = GgufFile::open(gguf().string());
    ASSERT_TRUE(file) << file.error().message;
    Folder folder;
    auto exported = export_to_safetensors(**file, name(), folder.string(), "f32", nullptr);
    ASSERT_TRUE(exported) << exported.error().message;
    EXPECT_EQ(hashes_of(folder / "model.safetensors"), wanted_hashes(golden("tensors.txt")));

    TestModel reference = load_golden(name());
    ASSERT_TRUE(reference.model);
    const std::vector<int32_t> tokens = reference.ints("golden.tokens");
    const std::vector<float> wanted = run_all(*reference.model, tokens, {});
    const std::string own_config = read_file(folder / "config.json");
    for (bool own : {false, true}) {
        SCOPED_TRACE(own ? "config.json as Sterna wrote it" : "config.json as transformers wrote it");
        folder.write("config.json", own ? own_config : read_file(golden("config.json")));
        auto model = HfModel::open(folder.string());
        ASSERT_TRUE(model) << model.error().message;
        const std::vector<uint8_t> bytes = to_gguf_bytes(**model);
        auto found = GgufFile::from_bytes(bytes, name());
        ASSERT_TRUE(found) << found.error().message;
        expect_same_tensors(**found, **file);
        const std::vector<float> logits = outputs(bytes, name(), tokens);
        EXPECT_LE(relative_difference(logits, reference.floats("golden.logits")), 1e-4);
        if (!reference.file->find_tensor("rope_freqs.weight")) {
            EXPECT_EQ(logits, wanted);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Models, HfGolden,
                         testing::Values("llama", "llama-mixtral", "qwen", "qwen2", "qwen3", "qwen3moe", "gemma3",
                                         "phi3", "granite", "bitnet", "bert"),
                         [](const auto& test) {
                             std::string name = test.param;
                             for (char& c : name)
                                 if (c == '-') c = '_';
                             return name;
                         });

}  // namespace
}  // namespace sterna
