// Muon (Jordan 2024): the momentum of a matrix, orthogonalised by five Newton-Schulz steps in float32, is its update.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "train/net.h"
#include "train/net_kernels.h"
#include "train/net_memory.h"

namespace sterna::train {

class Muon {
public:
    // One momentum per matrix, all zero. Throws std::bad_alloc.
    Muon(std::vector<Parameter*> matrices, ThreadPool& pool);

    struct Step {
        float rate, weight_decay, momentum;
        float gradient_scale;  // clipping
    };
    void step(const Step& step);

    std::span<Parameter* const> matrices() const { return matrices_; }
    std::span<float> momentum(size_t matrix) { return {momenta_[matrix].data(), size_t(momenta_[matrix].size())}; }

private:
    struct Work {
        float *x, *next;     // [n, m], n <= m
        float *gram, *poly;  // [n, n]
        float* packed;       // of x
    };
    void orthogonalise(Work& work, int64_t n, int64_t m);
    void multiply(const float* a, int64_t a_row, int64_t m, int64_t k, const float* packed, int64_t n, float* c);

    std::vector<Parameter*> matrices_;
    std::vector<Buffer<float>> momenta_;
    ThreadPool& pool_;
    const NetKernels* table_ = nullptr;
    Buffer<float> x_, next_, gram_, poly_, packed_;
};

}  // namespace sterna::train
