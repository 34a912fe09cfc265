// Everything that training needs to go on as if it had never stopped, in one GGUF file: the model's own metadata, float
// weights under their names, the optimizer's tensors under "state.NAME", and two keys:
//
//   sterna.checkpoint.state   JSON: position in the data, steps, length of the log, what the run was made of
//   sterna.checkpoint.sha256  of that text and of every tensor's name and bytes, in order
//
// Randomness has no state: every draw is a function of (seed, position). Written beside the old one, flushed, renamed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "format/gguf.h"
#include "train/export.h"
#include "train/net.h"
#include "train/optimizer.h"

namespace sterna::train {

struct TrainingState {
    int64_t step = 0, n_steps = 0, optimizer_steps = 0;
    uint64_t epoch = 0;
    int64_t row = 0;  // of the epoch's plan, the next one
    int64_t n_tokens = 0;
    uint64_t log_bytes = 0, sample_bytes = 0;  // of log.csv and samples.txt; what is behind was written later
    double seconds = 0;
    std::string data_digest;
    std::vector<std::pair<std::string, std::string>> identity;  // of the recipe
};

Status write_checkpoint(const std::string& path, const GgufFile& metadata, const TrainingState& state,
                        std::span<const Parameter> parameters, std::span<const Optimizer::State> optimizer);

class Checkpoint {
public:
    // Errors: a file that is no checkpoint, or whose content is not what was written.
    static Result<Checkpoint> open(const std::string& path);

    const TrainingState& state() const { return state_; }
    const GgufFile& file() const { return *file_; }
    // Errors: a tensor that is not there or has another size.
    Status restore(std::span<Parameter> parameters, Optimizer& optimizer) const;
    std::vector<TrainedTensor> tensors() const;  // the weights; views into the file

private:
    std::string path_;
    std::unique_ptr<GgufFile> file_;
    TrainingState state_;
    std::vector<std::string> ternary_, vectors_;
};

}  // namespace sterna::train
