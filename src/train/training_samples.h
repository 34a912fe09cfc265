// What the network would answer now, through the engine that runs finished models. Private to train/.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "train/export.h"
#include "train/recipe.h"

namespace sterna::train {

struct WrittenSample {
    std::string prompt, text;
};

// Draws with the recipe's seed, so the same weights write the same.
Result<std::vector<WrittenSample>> write_samples(const Recipe& recipe, const GgufFile& metadata,
                                                 std::vector<TrainedTensor> tensors, ThreadPool& pool);

}  // namespace sterna::train
