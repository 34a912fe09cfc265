#include "train/schedule.h"

#include <algorithm>
#include <numbers>

#include "kernels/kernels.h"

namespace sterna::train {

namespace {

// 1 after the warm-up, `final_fraction` after the last step.
double shape_at(const Recipe& recipe, int64_t step, int64_t n_steps) {
    const auto& training = recipe.training;
    const int64_t warmup = std::min(training.warmup_steps, n_steps);
    if (step < warmup) return double(step + 1) / double(warmup);
    int64_t begin = warmup;
    if (training.schedule == ScheduleShape::kStable)
        begin = std::max(warmup, n_steps - int64_t(training.decay_fraction * double(n_steps)));
    if (step < begin || n_steps == begin) return 1.0;
    const double done = double(step - begin) / double(n_steps - begin), last = training.final_fraction;
    if (training.schedule == ScheduleShape::kCosine)
        return last + (1.0 - last) * 0.5 * (1.0 + kernels::cos_f64(std::numbers::pi * done));
    return last + (1.0 - last) * (1.0 - done);
}

}  // namespace

Optimizer::Rates rates_at(const Recipe& recipe, int64_t step, int64_t n_steps) {
    const auto& training = recipe.training;
    const bool second_stage = training.two_stage && step >= n_steps / 2;
    const double factor = shape_at(recipe, step, n_steps) * (second_stage ? training.second_stage_fraction : 1.0);
    return {float(training.learning_rate * factor), float(training.muon_learning_rate * factor),
            second_stage ? 0.0f : training.optimizer.weight_decay};
}

}  // namespace sterna::train
