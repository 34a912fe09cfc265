// The tiny networks and batches of tools/make_train_golden.py, and batches for other sizes.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/net.h"

namespace sterna::train {

inline uint32_t mix(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t x = a * 2654435761u + b * 40503u + c * 97u + 12345u;
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ (x >> 13);
}

inline NetConfig tiny_config(bool ternary, bool bf16 = false) {
    NetConfig config;
    config.bitnet = config.ternary = ternary;
    config.vocab_size = 40;
    config.width = 24;
    config.n_layers = 2;
    config.n_heads = 4;
    config.n_kv_heads = 2;
    config.head_dim = 6;
    config.ffn_width = 36;
    config.context = 20;
    config.tied_embedding = ternary;
    config.bf16 = bf16;
    return config;
}

// The float twin of the ternary one.
inline NetConfig tiny_bitnet_float_config() {
    NetConfig config = tiny_config(true);
    config.ternary = false;
    return config;
}

// With what Qwen 2 and 3 and Llama 3.1 add, all at once.
inline NetConfig tiny_qwen_config() {
    NetConfig config = tiny_config(false);
    config.rope_halves = config.qkv_bias = config.head_norm = true;
    config.rope_divisors = {1.0f, 2.5f, 4.0f};
    for (int pair = 0; pair < 3; ++pair)
        config.rope_frequencies.push_back(std::pow(10000.0, -pair / 3.0) / double(config.rope_divisors[size_t(pair)]));
    return config;
}

inline void set_tiny_weights(Net& net, uint32_t salt) {
    uint32_t index = 0;
    for (Parameter& p : net.parameters()) {
        if (p.kind == ParameterKind::kConstant) continue;
        for (size_t i = 0; i < p.value.size(); ++i) {
            p.value[i] = (float(mix(salt, index, uint32_t(i)) >> 8) / 0x1p24f - 0.5f) * 0.5f;
            if (p.kind == ParameterKind::kNorm) p.value[i] += 1.0f;
        }
        ++index;
    }
}

struct OwnedBatch {
    std::vector<int32_t> tokens, targets, documents;
    std::vector<float> weights;
    Batch batch;
};

inline OwnedBatch make_batch(int vocab_size, int n_rows, int length, uint32_t seed) {
    OwnedBatch b;
    const uint32_t vocab = uint32_t(vocab_size);
    for (uint32_t row = 0; row < uint32_t(n_rows); ++row) {
        uint32_t x = mix(seed, row, 1000) % vocab;
        const uint32_t cut = mix(seed, row, 3000) % uint32_t(length);
        for (uint32_t t = 0; t < uint32_t(length); ++t) {
            b.tokens.push_back(int32_t(x));
            x = (5 * x + 3 + (mix(seed, row, t) & 1) * 7) % vocab;
            b.targets.push_back(int32_t(x));
            constexpr float kWeights[] = {0, 1, 0.5f, 1};
            b.weights.push_back(kWeights[mix(seed, row, 2000 + t) & 3]);
            b.documents.push_back(t >= cut);
        }
    }
    b.batch = {n_rows, length, b.tokens, b.targets, b.weights, b.documents};
    return b;
}

}  // namespace sterna::train
