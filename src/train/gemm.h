// Matrix products: rows times a packed matrix, and gradients of matrices, which are sums over all tokens of a batch, shared
// out to threads by output tiles.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "train/net_kernels.h"

namespace sterna::train {

// out[i, j] += sum over t of dy[t, i] * x[t, j]: blocks of kDepth tokens in order, as in GemmArgs. Both are packed where they
// are made, while they are in the cache: walking down their columns later would cost a third of the product's time.
struct OuterProduct {
    const float* dy;     // turned_floats(n_tokens, rows)
    const float* x;      // panel_floats(n_tokens, columns); or null:
    const int8_t* q;     // the same in bytes
    const float* scale;  // of q, per token
    int64_t n_tokens;
    float* out;  // [rows, columns]
    int64_t rows, columns;
};

// Floats that each worker needs.
int64_t outer_scratch_floats();

// scratch(worker) gives each worker its floats. Thread-compatible.
class OuterProducts {
public:
    // `bf16`: dy and x are bfloat16 numbers, and q times its scale is rounded to such.
    void run(std::span<const OuterProduct> products, bool bf16, ThreadPool& pool, std::span<float* const> scratch);

private:
    struct Tile {
        int product;
        int64_t row, column;
    };
    std::vector<Tile> tiles_;
};

}  // namespace sterna::train
