// What happens to a Hugging Face tensor's values on their way to GGUF, one Change at a time: which shape the checkpoint
// must have for a GGUF shape, and how rows are made. Private to convert/. Functions without state; call them from any
// thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "convert/checkpoint.h"
#include "model/weights.h"

namespace sterna {

// The last few matrices that were read transposed, whole: rows of the result are columns there, and a packed source (MXFP4)
// unpacks tiles, not columns. Any number of threads.
class TransposedMatrices {
public:
    using Values = std::vector<float>;
    // Calls make() unless the matrix is there; other threads that want the same one wait.
    Result<std::shared_ptr<const Values>> get(const CheckpointTensor* tensor, int64_t matrix,
                                              FunctionRef<Status(Values&)> make);

private:
    struct Entry {
        const CheckpointTensor* tensor;
        int64_t matrix;
        std::mutex mutex;
        std::shared_ptr<const Values> values;  // null until made
    };
    static constexpr size_t kKept = 2;  // 66 MB each for gpt-oss
    std::mutex mutex_;
    std::deque<std::shared_ptr<Entry>> entries_;  // newest first
};

// One tensor of the result: where its values come from.
struct HfRecipe {
    Change change = Change::kNone;
    std::vector<const CheckpointTensor*> parts;  // one, or one per expert
    std::vector<int64_t> shape;                  // GGUF's, fastest first
    int64_t layer = -1;
    const Config* config = nullptr;
    TransposedMatrices* transposed = nullptr;  // null: columns are read one by one
};

// The shape in which each part must be, slowest dimension first, extents of 1 left out. An extent of kAnyDim follows from
// the part.
std::vector<int64_t> part_shape(Change change, std::span<const int64_t> gguf_shape);

// Whether a part has that shape; kAnyDim fits everything. Extents of 1 do not count.
bool shape_fits(std::span<const int64_t> wanted, std::span<const int64_t> found);

// Which row of the checkpoint's matrix becomes row `row` of a GGUF tensor of `n_rows` rows (for vectors: which value), for
// changes that move whole rows.
int64_t source_row(Change change, const Config& config, int64_t layer, int64_t row, int64_t n_rows);

// The same for the values of a row, where value heads move (Change::kTileValueColumns).
int64_t source_column(const RecurrentConfig& recurrent, int64_t column, int64_t n_columns);

// Rows [first, first + n) of the GGUF tensor. Requires: shapes fit.
Status make_rows(const Checkpoint& checkpoint, const HfRecipe& recipe, int64_t first, int64_t n, std::span<float> to);

// The scale of a ternary matrix: the one magnitude of values that are ternary already, else their mean magnitude
// (BitNet b1.58, section 2). Above 0.
Result<float> ternary_scale(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

// Values to -1, 0, 1.
void make_ternary_values(std::span<float> values, float scale);

}  // namespace sterna
