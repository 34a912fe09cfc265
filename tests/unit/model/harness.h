// What the model tests share: reading a file whole (also where there is no mapping), and running a token sequence
// through a model in chosen chunks, alone or beside a stranger, with pages that are handed out in no particular order.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "format/gguf.h"
#include "model/model.h"

namespace sterna {

std::optional<std::vector<uint8_t>> read_whole_file(const std::string& path);

// A GGUF file in memory and the model in it.
struct TestModel {
    std::vector<uint8_t> bytes;
    std::unique_ptr<GgufFile> file;
    std::unique_ptr<Model> model;

    const Config& config() const { return model->config(); }
    std::vector<int32_t> ints(const std::string& tensor) const;
    std::vector<float> floats(const std::string& tensor) const;
};

// Fails the test and returns an empty model when something is wrong.
TestModel load_test_model(std::vector<uint8_t> bytes, const std::string& name);
TestModel load_golden(const std::string& name);  // tests/golden/models/NAME.gguf

// Ways to run a model that must give the same bits. Under an emulator one of each kind: kernels are compared elsewhere, and the
// engine's matrix (tests/golden) runs there too.
#if defined(__x86_64__)
inline constexpr int kThreadCounts[] = {1, 2, 5};
inline constexpr size_t kChunks[] = {1, 7, 64};
#else
inline constexpr int kThreadCounts[] = {2};
inline constexpr size_t kChunks[] = {7};
#endif

struct RunOptions {
    const kernels::Kernels* kernels = nullptr;  // null: active
    int threads = 1;
    size_t chunk = 1 << 20;
    kernels::KvKind kv = kernels::KvKind::kF32;
    bool stranger = false;  // another sequence of other length and phase is in every step
    int64_t max_positions = 1 << 20;
};

// One sequence of a model, step by step.
class Runner {
public:
    Runner(const Model& model, const RunOptions& options);

    // The output of every one of these tokens, which follow those of earlier calls. Empty after a failure.
    std::vector<float> feed(std::span<const int32_t> tokens);
    Status step(std::span<const StepToken> tokens, float* output);  // sequence 0, and 1 the stranger

private:
    struct Sequence {
        std::vector<std::unique_ptr<uint8_t[]>> owned;
        std::vector<uint8_t*> pages;
        std::vector<float> recurrent;
    };
    void grow(Sequence& sequence, size_t n_positions);

    const Model& model_;
    RunOptions options_;
    ThreadPool pool_;
    Workspace workspace_;
    StateLayout layout_;
    Sequence sequences_[2];
    int32_t position_ = 0, stranger_position_ = 0;
};

// All outputs of a sequence.
std::vector<float> run_all(const Model& model, std::span<const int32_t> tokens, const RunOptions& options);

// Largest difference over largest reference value.
double relative_difference(std::span<const float> found, std::span<const float> wanted);

}  // namespace sterna
