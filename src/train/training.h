// A recipe carried out: vocabulary, data, steps, checkpoints, files. Thread-compatible; `cancel` may be set from anywhere.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "train/export.h"
#include "train/recipe.h"

namespace sterna::train {

struct TrainingProgress {
    int64_t step = 0, n_steps = 0;
    double loss = 0, smooth_loss = 0;  // nats per token; the mean of about the last 50 steps
    std::optional<double> held_out_loss;
    double learning_rate = 0, gradient_norm = 0;
    double tokens_per_second = 0, seconds_left = 0;
    int64_t n_tokens = 0;  // seen in all
};

struct TrainingOptions {
    std::string folder;   // empty: the recipe's
    int64_t n_steps = 0;  // 0: the recipe's
    bool restart = false, only_tokenizer = false;
    const std::atomic<bool>* cancel = nullptr;
    // On the caller's thread.
    std::function<void(const TrainingProgress&)> on_step;
    std::function<void(const std::string&)> on_note;
    std::function<void(int64_t step, const std::string& prompt, const std::string& text)> on_sample;
};

struct TrainingResult {
    bool finished = false;  // false: stopped by `cancel`, after a checkpoint
    std::string folder, checkpoint, log, plot, tokenizer;
    int64_t n_parameters = 0, step = 0, n_steps = 0, n_tokens = 0;
    double loss = 0, seconds = 0;
    std::optional<double> held_out_loss;
    ExportReport exported;
};

// Errors: of the recipe's files; a checkpoint of another recipe or other data; a loss that is no number (the last
// checkpoint stays); the system's.
Result<TrainingResult> run_training(const Recipe& recipe, const TrainingOptions& options, ThreadPool& pool);

// The files of a checkpoint, as the recipe's [output] wants them.
Result<TrainingResult> export_checkpoint(const Recipe& recipe, const std::string& checkpoint,
                                         const TrainingOptions& options, ThreadPool& pool);

}  // namespace sterna::train
