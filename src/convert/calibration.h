// Runs a text through a model and measures what enters each matrix: the importance of its columns and, when asked, how
// they vary together. Thread-compatible.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/importance.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace sterna {

// Second moments of one input: sums of x_i x_j over rows, for columns within one group of `width`. Two sets: `fitted` is
// what encoding may use, `held` (every fifth window) what its gain is judged by.
struct Moments {
    int64_t n_columns = 0, width = 0;  // the last group may be narrower
    double n_fitted = 0.0, n_held = 0.0;
    std::vector<float> fitted, held;  // group after group, [columns][columns] row-major

    int64_t n_groups() const { return (n_columns + width - 1) / width; }
    int64_t group_columns(int64_t group) const { return std::min(width, n_columns - group * width); }
    const float* of(const std::vector<float>& set, int64_t group) const { return set.data() + group * width * width; }
};

struct CalibrationOptions {
    int64_t window = 512;     // tokens that see one another
    int64_t max_windows = 0;  // 0: the whole text
    bool moments = false;
    uint64_t max_moment_bytes = uint64_t(8) << 30;  // beyond it, columns are taken in narrower groups
    std::string dataset;                            // the text's name
    std::function<void(int64_t done, int64_t total)> progress;
    const std::atomic<bool>* cancel = nullptr;
};

struct Calibration {
    Importance importance;
    // By tensor name; several tensors may share one. Experts have none.
    std::map<std::string, std::shared_ptr<const Moments>, std::less<>> moments;
    int64_t n_tokens = 0;

    const Moments* find(std::string_view name) const {
        auto at = moments.find(name);
        return at == moments.end() ? nullptr : at->second.get();
    }
};

Result<Calibration> calibrate(const Model& model, const Tokenizer& tokenizer, ThreadPool& pool, std::string_view text,
                              const CalibrationOptions& options);

}  // namespace sterna
