// Learning rates and weight decay of every step: a pure function of the step, so that a resumed run needs no state.
#pragma once

#include <cstdint>

#include "train/recipe.h"

namespace sterna::train {

// `step` counts from 0. The same bits on every machine.
Optimizer::Rates rates_at(const Recipe& recipe, int64_t step, int64_t n_steps);

}  // namespace sterna::train
