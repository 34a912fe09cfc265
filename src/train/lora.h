// Low-rank adapters in training (Hu et al., arXiv 2106.09685): a frozen matrix W counts as W + scale * B A, where A has few rows
// and B few columns. The network computes with the sum and its gradient dW, from which those of the factors follow:
// dA = scale B^T dW, dB = scale dW A^T. One result for all thread counts. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "format/gguf.h"
#include "train/export.h"
#include "train/net.h"

namespace sterna::train {

class LoraSet {
public:
    // For the matrices of the network whose names contain one of `targets` ("attn_q", "ffn_down"). B begins as zeros, A
    // uniform in +-1/sqrt(n_in). Lifetime: the network outlives this. Errors: a target that names no matrix.
    static Result<std::unique_ptr<LoraSet>> create(std::span<Parameter> network,
                                                   const std::vector<std::string>& targets, int rank, double alpha,
                                                   uint64_t seed, ThreadPool& pool);

    // What is trained: "NAME.lora_a" [rank, n_in] and "NAME.lora_b" [n_out, rank].
    std::span<Parameter> parameters() { return parameters_; }
    // The network's matrices become base + scale * B A.
    void apply();
    // Adds what the network's gradients mean for the factors to theirs, which are set to zero before.
    void collect_gradients();

private:
    struct Adapter {
        Parameter* matrix;
        std::vector<float> base, a, b, a_gradient, b_gradient;
    };
    LoraSet(int rank, float scale, ThreadPool& pool) : rank_(rank), scale_(scale), pool_(pool) {}

    int rank_;
    float scale_;
    ThreadPool& pool_;
    std::vector<std::unique_ptr<Adapter>> adapters_;
    std::vector<Parameter> parameters_;
};

// The adapter as a file that LoraAdapter (convert/lora.h) and llama.cpp read. `metadata` is the base's.
Status write_adapter(const std::string& path, const GgufFile& metadata, const std::string& name, double alpha,
                     const std::vector<TrainedTensor>& tensors);

}  // namespace sterna::train
