// A Llama of random weights, made in memory, for what the transformers-made golden models lack: heads of 32 values,
// which a q8_0 cache wants, and one weight matrix of every quantized type. The numbers come from a linear congruential
// generator. As small as that allows: the scalar table computes each of its many runs too. The types whose blocks hold 256
// values lie where the columns are kWidth.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "model/model.h"

namespace sterna {

class QuantizedModel {
public:
    static constexpr int64_t kWidth = 256, kHeads = 4, kKvHeads = 2, kHeadDim = 32, kFfn = 64, kVocab = 96;

    std::unique_ptr<Model> make(ThreadPool& pool) {
        using enum DType;
        check(writer_.set_string("general.architecture", "llama"));
        const std::pair<const char*, uint32_t> sizes[] = {{"llama.context_length", 512},
                                                          {"llama.embedding_length", kWidth},
                                                          {"llama.block_count", 3},
                                                          {"llama.feed_forward_length", kFfn},
                                                          {"llama.attention.head_count", kHeads},
                                                          {"llama.attention.head_count_kv", kKvHeads},
                                                          {"llama.attention.key_length", kHeadDim},
                                                          {"llama.attention.value_length", kHeadDim},
                                                          {"llama.rope.dimension_count", kHeadDim}};
        for (auto [key, value] : sizes) check(writer_.set_u32(key, value));
        check(writer_.set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f));

        add("token_embd.weight", kQ6_K, {kWidth, kVocab}, 1.0f);
        add("output.weight", kQ8_0, {kWidth, kVocab}, 0.3f);
        norm("output_norm.weight");
        // Seven matrices in each of three layers: all types.
        const DType types[3][7] = {{kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kF16, kF32},
                                   {kQ2_K, kQ3_K, kQ4_K, kIQ4_NL, kQ5_K, kQ6_K, kBF16},
                                   {kTQ2_0, kIQ4_XS, kTQ1_0, kMXFP4, kQ4_K, kQ4_0, kQ8_0}};
        for (int layer = 0; layer < 3; ++layer) {
            const std::string block = "blk." + std::to_string(layer) + ".";
            const DType* type = types[layer];
            norm(block + "attn_norm.weight");
            norm(block + "ffn_norm.weight");
            add(block + "attn_q.weight", type[0], {kWidth, kHeads * kHeadDim}, 0.15f);
            add(block + "attn_k.weight", type[1], {kWidth, kKvHeads * kHeadDim}, 0.15f);
            add(block + "attn_v.weight", type[2], {kWidth, kKvHeads * kHeadDim}, 0.1f);
            add(block + "attn_output.weight", type[3], {kHeads * kHeadDim, kWidth}, 0.1f);
            add(block + "ffn_gate.weight", type[4], {kWidth, kFfn}, 0.1f);
            add(block + "ffn_up.weight", type[5], {kWidth, kFfn}, 0.1f);
            add(block + "ffn_down.weight", type[6], {kFfn, kWidth}, 0.1f);
        }
        auto bytes = writer_.to_bytes();
        EXPECT_TRUE(bytes) << bytes.error().message;
        if (!bytes) return nullptr;
        auto file = GgufFile::from_bytes(*bytes, "quantized");
        EXPECT_TRUE(file) << file.error().message;
        if (!file) return nullptr;
        LoadOptions options;
        options.pool = &pool;
        auto model = Model::load(**file, **file, options);
        EXPECT_TRUE(model) << model.error().message;
        return model ? std::move(*model) : nullptr;
    }

private:
    void check(const Status& status) { EXPECT_TRUE(status) << status.error().message; }

    float next() {
        x_ = x_ * 1664525u + 1013904223u;
        return float(x_ >> 8) * 0x1p-23f - 1.0f;
    }

    void add(const std::string& name, DType type, std::vector<int64_t> shape, float scale, float offset = 0.0f) {
        int64_t n = 1;
        for (int64_t dim : shape) n *= dim;
        std::vector<float> values(static_cast<size_t>(n));
        for (float& value : values) value = next() * scale + offset;
        auto& bytes = data_.emplace_back(std::make_unique<std::vector<uint8_t>>(*dtype_bytes(type, uint64_t(n))));
        if (type == DType::kF32) {
            std::memcpy(bytes->data(), values.data(), bytes->size());
        } else {
            dtype_traits(type)->encode(values.data(), bytes->data(), n, nullptr);
        }
        check(writer_.add_tensor(name, type, shape, *bytes));
    }
    void norm(const std::string& name) { add(name, DType::kF32, {kWidth}, 0.2f, 1.0f); }

    GgufWriter writer_;
    std::vector<std::unique_ptr<std::vector<uint8_t>>> data_;
    uint32_t x_ = 2026;
};

}  // namespace sterna
