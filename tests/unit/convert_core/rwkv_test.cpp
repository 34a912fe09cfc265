// RWKV-7 checkpoints, as its author and as flash-linear-attention publish them, made from the trained model of the shared
// test data (whose logits tests/unit/model/rwkv_test.cpp compares with rwkv.cpp's).
#include <cstring>

#include "convert/hf_model.h"
#include "harness.h"
#include "support.h"
#include "support/rwkv_file.h"
#include "support/testdata.h"

namespace sterna {
namespace {

Tensors values_of(const RwkvFile& file) {
    Tensors tensors;
    for (const auto& [name, tensor] : file.tensors) {
        Values& values = tensors[name];
        values.shape.assign(tensor.shape.rbegin(), tensor.shape.rend());
        values.values.resize(tensor.data.size() / sizeof(float));
        std::memcpy(values.values.data(), tensor.data.data(), tensor.data.size());
    }
    return tensors;
}

Values transposed(const Values& matrix) {
    const size_t rows = size_t(matrix.shape[0]), columns = size_t(matrix.shape[1]);
    Values result = {{matrix.shape[1], matrix.shape[0]}, std::vector<float>(rows * columns)};
    for (size_t r = 0; r < rows; ++r)
        for (size_t c = 0; c < columns; ++c) result.values[c * rows + r] = matrix.values[r * columns + c];
    return result;
}

bool is_low_rank(std::string_view name) {
    return name.size() > 3 && name[name.size() - 3] == '.' && std::strchr("wavg", name[name.size() - 2]) &&
           std::strchr("12", name.back());
}

// "blocks.0.att.w1" and so on: low-rank matrices transposed, mixtures one by one, dummies in the first layer.
Tensors as_its_author_does(const Tensors& tensors) {
    Tensors result;
    for (const auto& [name, tensor] : tensors) {
        const std::string block = name.substr(0, name.rfind('.') + 1);
        if (is_low_rank(name)) {
            result[name] = transposed(tensor);
        } else if (name.ends_with("x_rwkvag")) {
            const int64_t width = tensor.shape.back();
            for (size_t i = 0; i < 6; ++i) {
                const auto from = tensor.values.begin() + int64_t(i) * width;
                result[block + "x_" + "rwkvag"[i]] = {{1, 1, width}, {from, from + width}};
            }
        } else {
            result[name] = tensor;
        }
    }
    for (const char* part : {"0", "1", "2"})
        result["blocks.0.att.v" + std::string(part)] = result["blocks.1.att.v" + std::string(part)];
    return result;
}

Tensors as_flash_linear_attention_does(const Tensors& author, int64_t heads) {
    const std::pair<const char*, const char*> parts[] = {{"ln1.", "attn_norm."},
                                                         {"ln2.", "ffn_norm."},
                                                         {"ln0.", "pre_norm."},
                                                         {"att.ln_x.", "attn.g_norm."},
                                                         {"att.receptance.", "attn.r_proj."},
                                                         {"att.key.", "attn.k_proj."},
                                                         {"att.value.", "attn.v_proj."},
                                                         {"att.output.", "attn.o_proj."},
                                                         {"att.", "attn."}};
    Tensors result;
    for (const auto& [name, tensor] : author) {
        std::string to = name;
        if (name == "emb.weight") to = "model.embeddings.weight";
        if (name.starts_with("ln_out.")) to = "model.norm." + name.substr(7);
        if (name == "head.weight") to = "lm_head.weight";
        if (name.starts_with("blocks.0.att.v") && name.size() == 15) continue;
        Values value = tensor;
        if (name.starts_with("blocks.")) {
            const size_t dot = name.find('.', 7) + 1;
            std::string rest = name.substr(dot);
            for (const auto& [author_part, part] : parts)
                if (rest.starts_with(author_part)) {
                    rest = part + rest.substr(std::strlen(author_part));
                    break;
                }
            if (is_low_rank(name)) {
                value = transposed(tensor);
                rest = rest.substr(0, rest.size() - 1) + "_lora.lora." + (name.back() == '1' ? "0" : "2") + ".weight";
            } else if (rest.size() == 7 && rest.back() == '0') {
                value.shape = {int64_t(value.values.size())};
                rest = rest.substr(0, 6) + "_lora.lora.2.bias";
            } else if (rest == "attn.r_k") {
                value.shape = {heads, int64_t(value.values.size()) / heads};
            }
            to = "model.layers." + name.substr(7, dot - 7) + rest;
        }
        result[to] = std::move(value);
    }
    return result;
}

class Rwkv7 : public testing::Test {
protected:
    void SetUp() override {
        const auto path = shared_testdata("models/rwkv/tiny-rwkv-7v0-834K-FP32.bin");
        if (!path) GTEST_SKIP() << "no shared test data";
        original_ = values_of(parse_rwkv_file(*read_whole_file(path->string())));
        for (const auto& [name, tensor] : original_) {
            wanted_[rwkv_gguf_name(name)] = tensor.values;
            // The first layer's unused values are its rates once more.
            for (const char* n : {"0", "1", "2"})
                if (name == std::string("blocks.0.att.a") + n)
                    wanted_[std::string("blk.0.time_mix_v") + n + ".weight"] = tensor.values;
        }
    }

    // Every tensor of the converted checkpoint is the original's.
    void expect_original(const std::string& path) {
        auto model = HfModel::open(path);
        ASSERT_TRUE(model) << model.error().message;
        for (const SourceTensor& tensor : (*model)->tensors()) {
            std::vector<float> values(size_t(tensor.n_rows() * tensor.row_elements()));
            const Status status = (*model)->read_rows(tensor, 0, tensor.n_rows(), values);
            ASSERT_TRUE(status) << status.error().message;
            const auto wanted = wanted_.find(tensor.name);
            ASSERT_NE(wanted, wanted_.end()) << tensor.name;
            EXPECT_EQ(values, wanted->second) << tensor.name;
        }
        EXPECT_EQ((*model)->tensors().size(), wanted_.size());
    }

    Tensors original_;
    std::map<std::string, std::vector<float>> wanted_;  // by GGUF name
    Folder folder_;
};

TEST_F(Rwkv7, AsItsAuthorPublishesItWithoutConfig) {
    const fs::path path = folder_ / "rwkv7.safetensors";
    write_safetensors(path, as_its_author_does(original_));
    expect_original(path.string());
}

TEST_F(Rwkv7, AsFlashLinearAttentionPublishesIt) {
    write_safetensors(folder_ / "model.safetensors", as_flash_linear_attention_does(as_its_author_does(original_), 1));
    folder_.write(
        "config.json",
        R"({"architectures": ["RWKV7ForCausalLM"], "model_type": "rwkv7", "vocab_size": 256, "hidden_size": 64,
                   "num_hidden_layers": 12, "head_dim": 64, "intermediate_size": null, "decay_low_rank_dim": 32,
                   "a_low_rank_dim": 32, "v_low_rank_dim": 32, "gate_low_rank_dim": 32, "norm_eps": 1e-05,
                   "hidden_act": "sqrelu", "tie_word_embeddings": false})");
    expect_original(folder_.string());
}

TEST_F(Rwkv7, SaysWhatIsMissing) {
    const fs::path path = folder_ / "rwkv7.safetensors";
    Tensors tensors = as_its_author_does(original_);
    tensors.erase("blocks.3.att.v1");
    tensors.erase("blocks.5.att.x_a");
    write_safetensors(path, tensors);
    auto model = HfModel::open(path.string());
    ASSERT_FALSE(model);
    EXPECT_NE(model.error().message.find("2 tensors are missing"), std::string::npos) << model.error().message;
}

}  // namespace
}  // namespace sterna
