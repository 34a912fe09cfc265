// A model: configuration, packed weights, and the forward pass of its architecture. Immutable after load; share freely.
// An architecture is one file, arch_NAME.cpp, that defines `const Architecture kArch_NAME`; CMake lists them
// (registry.cpp.in).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "model/state.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace sterna {

// One token of a step. Tokens of one sequence stand in rising position order, without gaps; several sequences may be in
// one step.
struct StepToken {
    int32_t token = 0;
    int32_t position = 0;
    int32_t sequence = 0;  // index into Step::sequences
    bool wants_logits = false;
};

// Sees the rows that enter each matrix before they are multiplied: calibration measures them. Called on the caller's
// thread.
class InputObserver {
public:
    virtual ~InputObserver() = default;
    virtual void see(const PackedMatrix& matrix, const float* rows, int64_t n_rows, int64_t n_cols) = 0;
};

// Memory and threads for forward passes; reused from step to step. One per caller thread.
struct Workspace {
    explicit Workspace(ThreadPool& pool_, const kernels::Kernels& kernels_ = kernels::active());
    ~Workspace();

    ThreadPool& pool;
    const kernels::Kernels& kernels;
    struct Buffers;  // grows to the largest step seen
    std::unique_ptr<Buffers> buffers;
    InputObserver* observer = nullptr;  // null, as it is but for calibration: costs nothing
};

struct Step {
    std::span<const StepToken> tokens;
    std::span<const SequenceState> sequences;
    const StateLayout& layout;
    // [number of tokens that want logits, in order][vocab_size]; for embedding models [.., width] of the final hidden
    // states.
    float* output = nullptr;
    const std::atomic<bool>* cancel =
        nullptr;  // read once per layer; a cancelled step leaves its new positions undefined
};

struct LoadOptions {
    ThreadPool* pool = nullptr;  // required
    ModelLimits limits;
    const std::atomic<bool>* cancel = nullptr;
};

class Model {
public:
    // Checks every tensor's shape and type against the architecture's table before packing. Copies what it needs.
    static Result<std::unique_ptr<Model>> load(const Metadata& metadata, const TensorSource& tensors,
                                               const LoadOptions& options);
    ~Model();

    const Config& config() const { return config_; }
    const Architecture& architecture() const { return *architecture_; }
    const Weights& weights() const { return weights_; }
    int64_t weight_bytes() const;  // packed
    bool is_embedding_model() const { return !config_.causal; }
    // Values per output row: vocab_size, or width for embedding models.
    int64_t output_width() const;

    // Runs the step: writes the new positions' KV, and the wanted outputs. Errors: a token id, sequence or position out
    // of range, a cancelled step, no memory. Embedding models (not causal) want each text whole in one step, from
    // position 0.
    Status forward(Workspace& workspace, const Step& step) const;

private:
    Model() = default;
    Config config_;
    const Architecture* architecture_ = nullptr;
    Weights weights_;
};

// All architectures, in alphabetical order, and the one for a general.architecture name (or null).
std::span<const Architecture* const> all_architectures();
const Architecture* find_architecture(std::string_view name);

// The first part of load(): which architecture a file is of, and its checked configuration (vocab_size still 0).
struct ModelPlan {
    const Architecture* architecture = nullptr;
    Config config;
};
Result<ModelPlan> plan_model(const Metadata& metadata, const ModelLimits& limits);

// One vector [width] for the final hidden states [n_rows][width] of a text: their mean (also for kNone), the first or
// the last.
void pool_rows(const kernels::Kernels& kernels, Pooling pooling, const float* rows, int64_t n_rows, int64_t width,
               float* out);

}  // namespace sterna
