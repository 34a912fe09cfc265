// The memory of one forward pass, carved from one allocation that grows to the largest step seen. Thread-compatible;
// worker w of the pool uses only its own scratch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "model/linear.h"
#include "model/model.h"

namespace sterna {

struct Workspace::Buffers {
    // ---- Rows of activations. T: tokens of the step; R: rows that enter the feed-forward (T, or T * chosen experts)
    float* x = nullptr;     // [T][width]          residual stream
    float* h = nullptr;     // [T][width]          normed input of a sublayer
    float* y = nullptr;     // [T][width]          output of a sublayer, before it joins the stream
    float* qkv = nullptr;   // [T][q + k + v]
    float* attn = nullptr;  // [T][o_width]        heads side by side
    float* ffn = nullptr;   // [R][2 * ffn]        gate, then up
    float* act = nullptr;   // [R][ffn]            after the activation

    float* mixer = nullptr;  // [T][mixer_width]   projections of recurrent layers and latent attention
    float* mixed = nullptr;  // [T][mixed_width]   heads one after the other, each [T][its width]

    // ---- Int8 forms of the input of the linear layers that run now
    int8_t* q8_32 = nullptr;
    float* q8_32_scales = nullptr;
    int16_t* q8_32_sums = nullptr;
    int8_t* q8_256 = nullptr;
    float* q8_256_scales = nullptr;
    int16_t* q8_256_sums = nullptr;

    // ---- Positions
    float* cos_global = nullptr;  // [T][pairs], and so on
    float* sin_global = nullptr;
    float* cos_local = nullptr;  // sliding layers with a theta of their own
    float* sin_local = nullptr;
    int64_t* end = nullptr;     // [T] positions of the token's sequence that it may see
    int64_t* wanted = nullptr;  // [n_wanted] indices of the tokens that want an output
    int64_t n_wanted = 0;

    // ---- Experts. k: chosen per token
    float* router = nullptr;          // [T][n_experts]
    float* expert_score = nullptr;    // [T][n_experts] what the choice goes by
    int32_t* expert = nullptr;        // [T * k] chosen, best first
    float* expert_weight = nullptr;   // [T * k]
    int64_t* slot = nullptr;          // [T * k] row of the choice among rows sorted by expert
    int64_t* expert_begin = nullptr;  // [n_experts + 1] first such row of each expert
    float* expert_in = nullptr;       // [T * k][width]
    float* expert_out = nullptr;      // [T * k][width]

    // ---- Per worker
    uint8_t* matmul_scratch = nullptr;   // [workers][kMatmulScratchBytes]
    float* attention_scratch = nullptr;  // [workers][attention_stride]
    int64_t attention_stride = 0;
    float* attention_parts = nullptr;  // [attention_part_room] sums of chunks that several workers reduce
    int64_t attention_part_room = 0;

    std::vector<MatmulJob> jobs;
    std::vector<MatmulTask> tasks;

    // Makes room for a step. Fails only when memory does.
    Status reserve(const Config& config, int64_t n_tokens, int n_workers);
    // What reserve() allocates.
    static int64_t bytes(const Config& config, int64_t n_tokens, int n_workers);

private:
    struct Free {
        void operator()(uint8_t* p) const;
    };
    int64_t carve(const Config& config, int64_t n_tokens, int n_workers, uint8_t* base);

    std::unique_ptr<uint8_t, Free> memory_;
    int64_t capacity_ = 0;
};

}  // namespace sterna
