// What a forward pass reads and writes besides weights: the KV cache and recurrent state of each sequence, seen as
// pages. The engine owns pages and decides which sequence holds which; a model only knows the layout inside a page.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "model/config.h"

namespace sterna {

// One page holds kPagePositions positions of all layers and heads of one sequence:
//   for each layer that has its own KV: for each KV head: K bytes, V bytes (formats: kernels/kernels.h, KvKind)
// A layer may read another layer's KV (shared KV) or have none (recurrent). Immutable after make(); share freely.
struct StateLayout {
    static constexpr int64_t kPagePositions = 32;

    struct Layer {
        int64_t k_offset = -1;  // of head 0 in a page; -1: the layer reads no KV
        int64_t v_offset = -1;
        int64_t head_stride_k = 0;  // bytes from one KV head's K to the next
        int64_t head_stride_v = 0;
        int64_t n_kv_heads = 0, head_dim_k = 0, head_dim_v = 0;
        bool owns_kv = false;           // false: the offsets are another layer's
        int64_t recurrent_offset = -1;  // of its state in SequenceState::recurrent; -1: none
        int64_t recurrent_bytes = 0;
    };

    kernels::KvKind kv_kind = kernels::KvKind::kF16;
    std::vector<Layer> layers;
    int64_t page_bytes = 0;       // multiple of 64
    int64_t recurrent_bytes = 0;  // of a sequence, fixed size

    // For kQ8_0 every head_dim must be a multiple of 32, else the layout falls back to f16 (see kv_kind).
    static StateLayout make(const Config& config, kernels::KvKind wanted);
};

// One sequence's memory during a step. Lifetime: the step. Position p lies in pages[p / kPagePositions]; pages are
// 64-byte aligned.
struct SequenceState {
    std::span<uint8_t* const> pages;
    uint8_t* recurrent = nullptr;
    // Positions the sequence may grow to, the same in all its steps. Longrope models (phi3) use their long factors when
    // it is above the original context, the short ones otherwise.
    int64_t max_positions = 0;
};

}  // namespace sterna
