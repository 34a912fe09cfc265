// The memory that a model will take, from its metadata and tensor table alone: nothing is loaded.
#pragma once

#include <cstdint>
#include <span>

#include "base/metadata.h"
#include "base/result.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace sterna {

struct MemoryEstimate {
    int64_t context = 0;    // positions planned for
    int64_t weights = 0;    // bytes of packed weights
    int64_t cache = 0;      // bytes of KV pages and recurrent state of one full sequence
    int64_t workspace = 0;  // bytes of activations for a step of 512 tokens
};

constexpr int64_t kDefaultContext = 4096;

// n_positions 0: the trained length, at most kDefaultContext.
Result<MemoryEstimate> estimate_memory(const Metadata& metadata, std::span<const TensorView> tensors,
                                       int64_t n_positions, kernels::KvKind kv);

}  // namespace sterna
