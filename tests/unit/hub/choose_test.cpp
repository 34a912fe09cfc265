#include <algorithm>

#include <gtest/gtest.h>

#include "hub/choose.h"

namespace sterna {
namespace {

std::vector<HubFile> files_of(std::initializer_list<const char*> paths) {
    std::vector<HubFile> files;
    for (const char* path : paths) {
        HubFile file;
        file.path = path;
        file.size = 10;
        files.push_back(file);
    }
    std::sort(files.begin(), files.end(), [](auto& a, auto& b) { return a.path < b.path; });
    return files;
}

// The chosen paths, with spaces between; or the error.
std::string chosen(std::initializer_list<const char*> paths, const std::string& type = "", const std::string& file = "",
                   std::vector<std::string> patterns = {}) {
    auto choice = choose_files(files_of(paths), {type, file, std::move(patterns)}, "o/n");
    if (!choice) return choice.error().message;
    std::string out;
    for (const HubFile& taken : choice->files) out += (out.empty() ? "" : " ") + taken.path;
    return out;
}

TEST(Choose, TypesInNames) {
    const std::pair<const char*, const char*> cases[] = {
        {"Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"},
        {"tinyllama-1.1b.q8_0.gguf", "Q8_0"},
        {"model.i1-IQ3_XXS.gguf", "IQ3_XXS"},
        {"m-UD-Q4_K_XL.gguf", "Q4_K_XL"},
        {"m-fp16.gguf", "F16"},
        {"m-bf16.gguf", "BF16"},
        {"m-f32.gguf", "F32"},
        {"gpt-oss-20b-mxfp4.gguf", "MXFP4"},
        {"m-MXFP4_MOE.gguf", "MXFP4_MOE"},
        {"Q6_K/m-00001-of-00002.gguf", "Q6_K"},
        {"BF16/m-Q4_0.gguf", "Q4_0"},
        {"m-Q4_0_4_4.gguf", "Q4_0_4_4"},
        {"m-TQ1_0.gguf", "TQ1_0"},
        {"ggml-model-q5_1.gguf", "Q5_1"},
        {"m-Q4_K_M-imat.gguf", "Q4_K_M"},
        {"model.gguf", ""},
        {"qwen2.5-q.gguf", ""},
        {"aq4_0.gguf", ""},
        {"iq-test-Q4.gguf", ""},
        {"Q2_KING.gguf", ""},
    };
    for (auto& [path, type] : cases) EXPECT_EQ(gguf_type_of(path), type) << path;
    EXPECT_TRUE(type_matches("m-UD-Q4_K_XL.gguf", "ud-q4_k_xl"));
    EXPECT_TRUE(type_matches("m-UD-Q4_K_XL.gguf", "Q4_K_XL"));
    EXPECT_TRUE(type_matches("m-F16.gguf", "fp16"));
    EXPECT_FALSE(type_matches("m-Q4_K_M.gguf", "q4_k"));
    EXPECT_FALSE(type_matches("model.gguf", ""));
}

TEST(Choose, Kinds) {
    EXPECT_EQ(file_kind("a/mmproj-model-f16.gguf"), FileKind::kGgufOther);
    EXPECT_EQ(file_kind("m.imatrix.gguf"), FileKind::kGgufOther);
    EXPECT_EQ(file_kind("m-Q4_K_M-imatrix.gguf"), FileKind::kGguf);
    EXPECT_EQ(file_kind("model.safetensors"), FileKind::kWeights);
    EXPECT_EQ(file_kind("pytorch_model-00001-of-00002.bin"), FileKind::kPytorch);
    EXPECT_EQ(file_kind("training_args.bin"), FileKind::kOther);
    EXPECT_EQ(file_kind("tokenizer.json"), FileKind::kConfig);
    EXPECT_EQ(file_kind("qwen.tiktoken"), FileKind::kConfig);
    EXPECT_EQ(file_kind("onnx/config.json"), FileKind::kOther);
    EXPECT_EQ(file_kind("imatrix.dat"), FileKind::kOther);
}

TEST(Choose, SplitNames) {
    SplitName split = split_name("a/m-00002-of-00003.gguf");
    EXPECT_EQ(split.base, "a/m.gguf");
    EXPECT_EQ(split.part, 2u);
    EXPECT_EQ(split.of, 3u);
    for (const char* whole : {"m.gguf", "-of-", "m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-2-of-3.gguf",
                              "m-00001-of-x.gguf", "-of-00003.gguf", "m-00001-of-00000.gguf", ""})
        EXPECT_EQ(split_name(whole).of, 0u) << whole;
}

TEST(Choose, TheUsualType) {
    EXPECT_EQ(chosen({"m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf", "mmproj-F16.gguf", "README.md"}), "m-Q4_K_M.gguf");
    EXPECT_EQ(chosen({"m-Q8_0.gguf", "m-F16.gguf", "m-Q2_K.gguf"}), "m-Q8_0.gguf");
    EXPECT_EQ(chosen({"m-IQ2_XS.gguf", "mmproj.gguf"}), "m-IQ2_XS.gguf");
    EXPECT_EQ(chosen({"model.gguf", "model.safetensors", "config.json"}), "model.gguf");
    EXPECT_EQ(chosen({"a-Q4_K_M.gguf", "sub/a-Q4_K_M.gguf"}), "a-Q4_K_M.gguf");
    EXPECT_EQ(chosen({"m-UD-Q4_K_XL.gguf", "m-Q4_K_XL.gguf"}), "m-Q4_K_XL.gguf");
    EXPECT_EQ(chosen({"a-Q4_K_M.gguf", "b-Q4_K_M.gguf"}),
              "o/n: several models fit: a-Q4_K_M.gguf, b-Q4_K_M.gguf; name one with --file");
    EXPECT_EQ(chosen({"a.gguf", "b.gguf"}), "o/n: several models fit: a.gguf, b.gguf; name one with --file");
}

TEST(Choose, ANamedType) {
    EXPECT_EQ(chosen({"m-Q8_0.gguf", "m-Q4_K_M.gguf"}, "q8_0"), "m-Q8_0.gguf");
    EXPECT_EQ(chosen({"m-Q8_0.gguf", "m.gguf"}, "q6-k"), "o/n: no GGUF file of type Q6_K; there are Q8_0, m.gguf");
    EXPECT_EQ(chosen({"Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf", "m-Q4_0.gguf"}, "Q8_0"),
              "Q8_0/m-00001-of-00002.gguf Q8_0/m-00002-of-00002.gguf");
    EXPECT_EQ(chosen({"m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"}),
              "o/n: part 2 of 3 of m-Q8_0.gguf is missing");
}

TEST(Choose, FilesByName) {
    EXPECT_EQ(chosen({"a.txt", "b/c.txt", "m.gguf"}, "", "", {"*.txt"}), "a.txt b/c.txt");
    EXPECT_EQ(chosen({"a.txt"}, "", "", {"a*", "*t"}), "a.txt");
    EXPECT_EQ(chosen({"a.txt"}, "", "", {"x"}),
              "o/n: no file matches x; sterna pull o/n --dry-run lists the 1 there are");
    EXPECT_EQ(chosen({"mmproj.gguf", "m.gguf"}, "", "mmproj.gguf"), "mmproj.gguf");
    EXPECT_EQ(chosen({"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}, "", "m-00002-of-00002.gguf"),
              "m-00001-of-00002.gguf m-00002-of-00002.gguf");
    EXPECT_EQ(chosen({"m.gguf"}, "", "x"), "o/n: holds no file x");
}

TEST(Choose, Checkpoints) {
    EXPECT_EQ(chosen({"config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin",
                      "consolidated.safetensors", "README.md", "onnx/model.onnx", "unet/model.safetensors"}),
              "config.json tokenizer.json model.safetensors");
    EXPECT_EQ(
        chosen({"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors"}),
        "config.json model.safetensors.index.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors");
    EXPECT_EQ(chosen({"config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"}),
              "o/n: 1 of the 2 parts of model.safetensors are there");
    EXPECT_EQ(chosen({"config.json", "model.safetensors", "model-00001-of-00002.safetensors",
                      "model-00002-of-00002.safetensors"}),
              "config.json model.safetensors");
    EXPECT_EQ(chosen({"config.json", "pytorch_model.bin", "optimizer.bin"}), "config.json pytorch_model.bin");
    EXPECT_EQ(chosen({"adapter_model.safetensors", "adapter_config.json"}),
              "o/n: holds an adapter for another model, not a model");
    EXPECT_TRUE(chosen({"config.json"}).starts_with("o/n: holds no model"));
    EXPECT_TRUE(chosen({"model.safetensors"}).starts_with("o/n: holds no model"));
    EXPECT_TRUE(chosen({}).starts_with("o/n: holds no model"));
}

}  // namespace
}  // namespace sterna
