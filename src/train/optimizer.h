// How weights follow their gradients: AdamW (Loshchilov and Hutter, arXiv 1711.05101) for embeddings and norms and, when
// asked, Muon (Jordan 2024: momentum orthogonalised by Newton-Schulz steps) for matrices. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "train/net.h"

namespace sterna::train {

struct OptimizerConfig {
    bool muon = false;  // for kMatrix parameters; AdamW otherwise
    float beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
    float weight_decay = 0.1f;  // of matrices and embeddings; norms have none
    float muon_momentum = 0.95f;
    float clip_norm = 1.0f;  // of all gradients together; 0: no clipping
};

class Optimizer {
public:
    static std::unique_ptr<Optimizer> create(const OptimizerConfig& config, std::span<Parameter> parameters,
                                             ThreadPool& pool);
    virtual ~Optimizer() = default;

    // One step with these learning rates and weight decay. Returns the norm of all gradients before clipping; when it is
    // not finite nothing is changed.
    struct Rates {
        float adam;
        float muon;
        float weight_decay;
    };
    virtual double step(const Rates& rates) = 0;

    // What a checkpoint must hold besides the weights: named tensors (momenta) and the number of steps taken.
    struct State {
        std::string name;
        std::span<float> values;
    };
    virtual std::vector<State> state() = 0;
    virtual int64_t steps() const = 0;
    virtual void set_steps(int64_t steps) = 0;
};

}  // namespace sterna::train
