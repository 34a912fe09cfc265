// What is wrong with a file is said in a sentence, and no damage to one does harm.

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <gtest/gtest.h>

#include "convert/checkpoint.h"
#include "convert/llama2c_file.h"
#include "format/gguf.h"
#include "format/onnx.h"
#include "format/torch_archive.h"
#include "support/testdata.h"

namespace sterna {
namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

fs::path golden(const std::string& name) {
    return source_path("tests/golden/checkpoints/" + name);
}

// A folder that goes away with the test.
struct Scratch {
    Scratch() : path(fs::path(::testing::TempDir()) / ("sources_" + std::to_string(::getpid()))) {
        fs::remove_all(path);
        fs::create_directories(path);
    }
    ~Scratch() { fs::remove_all(path); }
    fs::path path;
};

std::string error_of(const std::string& path) {
    auto opened = open_checkpoint(path);
    return opened ? "" : opened.error().message;
}

// Every 97th truncation and flipped bit of a file; read_all opens it and reads what it can.
template <typename ReadAll>
void damage(const std::vector<uint8_t>& whole, ReadAll read_all) {
    ASSERT_GT(whole.size(), 0u);
    const size_t step = whole.size() / 400 + 1;
    for (size_t at = 0; at < whole.size(); at += step) {
        const std::vector<uint8_t> cut(whole.begin(), whole.begin() + ptrdiff_t(at));
        read_all(Bytes(cut));
        std::vector<uint8_t> flipped = whole;
        flipped[at] ^= uint8_t(1u << (at % 8));
        read_all(Bytes(flipped));
    }
}

void read_torch(Bytes bytes) {
    auto tensors = read_torch_file(bytes, "damaged.bin");
    if (!tensors) {
        EXPECT_FALSE(tensors.error().message.empty());
        return;
    }
    for (const TorchTensor& tensor : *tensors) {
        const int64_t n = element_count(tensor.shape);
        ASSERT_GE(n, 0);
        if (n == 0) continue;
        float value;
        int64_t last = 0;
        for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
        read_elements(tensor.type, tensor.data, last, std::span(&value, 1));
    }
}

TEST(HostileTorch, AForeignCallIsRefusedByName) {
    const std::string message = error_of((golden("torch-evil") / "pytorch_model.bin").string());
    EXPECT_TRUE(message.contains("wants to call __builtin__.eval") || message.contains("wants to call builtins.eval"))
        << message;
    EXPECT_FALSE(fs::exists("/tmp/evil"));
}

TEST(HostileTorch, AForeignInstructionIsRefused) {
    // PROTO 2, then INST, which calls by name.
    std::vector<uint8_t> legacy = bytes_of(golden("torch-legacy") / "pytorch_model.bin");
    legacy.resize(15);  // the number that starts the old format, with its STOP
    for (char c : std::string("\x80\x02(ios\nsystem\n.")) legacy.push_back(uint8_t(c));
    auto tensors = read_torch_file(legacy, "x.bin");
    ASSERT_FALSE(tensors);
    EXPECT_EQ(tensors.error().message, "x.bin: pickle instruction 0x69 at byte 18, which no state dict needs");
}

TEST(HostileTorch, DamageIsFound) {
    for (const char* kind : {"torch", "torch-legacy", "torch-protocol4", "torch-nested"})
        damage(bytes_of(golden(kind) / "pytorch_model.bin"), read_torch);
}

TEST(HostileTorch, AMissingShardIsNamed) {
    Scratch scratch;
    fs::copy(golden("torch-sharded"), scratch.path);
    fs::remove(scratch.path / "pytorch_model-00002-of-00002.bin");
    EXPECT_TRUE(error_of(scratch.path.string()).contains("pytorch_model-00002-of-00002.bin: missing"));
    std::ofstream(scratch.path / "pytorch_model.bin.index.json") << R"({"weight_map": {"a": "../../etc/passwd"}})";
    EXPECT_TRUE(error_of(scratch.path.string()).contains("leaves the folder"));
    std::ofstream(scratch.path / "pytorch_model.bin.index.json") << "[";
    EXPECT_TRUE(error_of(scratch.path.string()).contains("no weight_map in it"));
}

TEST(HostileOnnx, DamageIsFound) {
    damage(bytes_of(golden("onnx") / "model.onnx"), [](Bytes bytes) {
        auto graph = parse_onnx(bytes, "damaged.onnx");
        if (!graph) {
            EXPECT_FALSE(graph.error().message.empty());
            return;
        }
        for (const OnnxTensor& tensor : graph->tensors) {
            if (tensor.type && !tensor.external) {
                EXPECT_EQ(tensor.data.size(), tensor.wanted_bytes());
            }
        }
    });
}

// The whole way: what still parses is also opened and read.
TEST(HostileOnnx, DamagedGraphsAreReadOrRefused) {
    Scratch scratch;
    const std::string path = (scratch.path / "model.onnx").string();
    int n_opened = 0, n_refused = 0;
    damage(bytes_of(golden("onnx") / "model.onnx"), [&](Bytes bytes) {
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
        auto checkpoint = open_checkpoint(path);
        ++(checkpoint ? n_opened : n_refused);
        if (!checkpoint) return;
        for (const CheckpointTensor& tensor : (*checkpoint)->tensors()) {
            std::vector<float> values(size_t(std::min<int64_t>(tensor.n_elements(), 4096)));
            EXPECT_TRUE((*checkpoint)->read(tensor, 0, values));
        }
    });
    EXPECT_GT(n_opened, 0);
    EXPECT_GT(n_refused, 0);
}

TEST(HostileOnnx, ExternalDataStaysInTheFolder) {
    Scratch scratch;
    std::vector<uint8_t> bytes = bytes_of(golden("onnx-external") / "model.onnx");
    const std::string inside = "model.onnx_data", outside = "../../etc/passw";
    for (auto at = bytes.begin();;) {
        at = std::search(at, bytes.end(), inside.begin(), inside.end());
        if (at == bytes.end()) break;
        std::ranges::copy(outside, at);
    }
    std::ofstream(scratch.path / "model.onnx", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    const std::string message = error_of((scratch.path / "model.onnx").string());
    EXPECT_TRUE(message.contains("external data in '../../etc/passw', outside the folder")) << message;
    // And where it should be, but is not or is too short:
    fs::copy(golden("onnx-external") / "model.onnx", scratch.path / "other.onnx");
    EXPECT_TRUE(error_of((scratch.path / "other.onnx").string()).contains("model.onnx_data"));
    std::ofstream(scratch.path / "model.onnx_data") << "short";
    EXPECT_TRUE(error_of((scratch.path / "other.onnx").string()).contains("which has 5"));
}

TEST(HostileLlama2c, DamageIsFound) {
    for (const char* kind : {"llama2c-v0", "llama2c-v1", "llama2c-v2"}) {
        damage(bytes_of(golden(kind) / "model.bin"), [](Bytes bytes) {
            auto checkpoint = parse_llama2c("damaged.bin", bytes);
            if (!checkpoint) return;
            for (const CheckpointTensor& tensor : (*checkpoint)->tensors()) {
                std::vector<float> values(size_t(tensor.n_elements()));
                EXPECT_TRUE((*checkpoint)->read(tensor, 0, values));
            }
        });
    }
}

TEST(Llama2c, HoldsItsConfig) {
    auto checkpoint = open_checkpoint((golden("llama2c-v1") / "model.bin").string());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const std::string config = (*checkpoint)->config_json();
    for (const char* part : {"\"hidden_size\": 16", "\"intermediate_size\": 24", "\"num_hidden_layers\": 2",
                             "\"num_attention_heads\": 4", "\"num_key_value_heads\": 2", "\"vocab_size\": 40",
                             "\"max_position_embeddings\": 8", "\"tie_word_embeddings\": true"})
        EXPECT_TRUE(config.contains(part)) << part << " in " << config;
}

// The GGUF that others made of the same model is the witness.
TEST(Llama2c, TheTrainedModelAndItsTokenizer) {
    const auto bin = shared_testdata("models/llama2c/stories260K.bin");
    const auto gguf = shared_testdata("models/llama2c/stories260Ktok512.gguf");
    if (!bin || !gguf) GTEST_SKIP() << "no shared test data";
    auto checkpoint = open_checkpoint(bin->string());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    auto witness = GgufFile::open(gguf->string());
    ASSERT_TRUE(witness) << witness.error().message;
    const TensorView* theirs = (*witness)->find_tensor("blk.1.ffn_down.weight");
    const CheckpointTensor* ours = (*checkpoint)->find("model.layers.1.mlp.down_proj.weight");
    ASSERT_TRUE(theirs && ours);
    EXPECT_TRUE(std::ranges::equal(ours->stored, theirs->data));
    // Theirs keeps the rows of a head in pairs: row 2i is our row i of the first half, row 2i + 1 of the second.
    theirs = (*witness)->find_tensor("blk.1.attn_q.weight");
    ours = (*checkpoint)->find("model.layers.1.self_attn.q_proj.weight");
    ASSERT_TRUE(theirs && ours);
    std::vector<float> q(64 * 64);
    ASSERT_TRUE((*checkpoint)->read(*ours, 0, q));
    for (size_t row = 0; row < 64; ++row) {
        const size_t head = row / 8 * 8, in_head = row % 8, pair = head + in_head % 4 * 2 + in_head / 4;
        EXPECT_EQ(std::memcmp(&q[row * 64], theirs->data.data() + pair * 64 * 4, 64 * 4), 0) << row;
    }
    GgufWriter writer;
    auto written = (*checkpoint)->write_tokenizer(writer);
    ASSERT_TRUE(written && *written);
    auto made = writer.to_bytes();
    ASSERT_TRUE(made);
    auto tokenizer = GgufFile::from_bytes(*made, "made");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ((*tokenizer)->get_strings("tokenizer.ggml.tokens"), (*witness)->get_strings("tokenizer.ggml.tokens"));
    EXPECT_EQ((*tokenizer)->get_floats("tokenizer.ggml.scores"), (*witness)->get_floats("tokenizer.ggml.scores"));
}

TEST(Llama2c, AWrongTokenizerIsRefused) {
    const auto file = shared_testdata("models/llama2c/tok512.bin");
    if (!file) GTEST_SKIP() << "no shared test data";
    const std::vector<uint8_t> bytes = bytes_of(*file);
    GgufWriter writer;
    EXPECT_TRUE(write_llama2c_tokenizer("t.bin", bytes, 512, writer));
    EXPECT_FALSE(write_llama2c_tokenizer("t.bin", bytes, 511, writer));
    EXPECT_FALSE(write_llama2c_tokenizer("t.bin", bytes, 513, writer));
    damage(bytes, [](Bytes damaged) {
        GgufWriter other;
        (void)write_llama2c_tokenizer("t.bin", damaged, 512, other);
    });
}

TEST(HostileUnpack, MissingPartsAreNamed) {
    Scratch scratch;
    fs::copy(golden("gptq-4bit"), scratch.path);
    // Renames qzeros: as long, another name.
    std::vector<uint8_t> bytes = bytes_of(scratch.path / "model.safetensors");
    const std::string wanted = "qzeros";
    auto at = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
    ASSERT_NE(at, bytes.end());
    *at = 'x';
    std::ofstream(scratch.path / "model.safetensors", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    auto packed = open_checkpoint(scratch.path.string());
    ASSERT_TRUE(packed) << packed.error().message;
    auto plain = unpack_checkpoint(std::move(*packed), "{}");
    ASSERT_FALSE(plain);
    EXPECT_EQ(plain.error().message, "model.layers.0.mlp.up_proj.qzeros: missing");
}

TEST(HostileUnpack, AMethodThatIsNotReadIsNamed) {
    auto packed = open_checkpoint(golden("torch").string());
    ASSERT_TRUE(packed);
    auto plain = unpack_checkpoint(std::move(*packed), R"({"quantization_config": {"quant_method": "bitsandbytes"}})");
    ASSERT_FALSE(plain);
    EXPECT_TRUE(plain.error().message.contains("bitsandbytes, which is not read"));
}

}  // namespace
}  // namespace sterna
