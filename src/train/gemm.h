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

// C = A B with the whole of a packed B: [m, n] = [m, k] [k, n]. Rows of A lie a_row floats apart, those of C side by side.
inline GemmArgs rows_times(const float* a, int64_t a_row, int64_t m, int64_t k, const float* packed, int64_t n,
                           float* c) {
    return {.m = m,
            .n = n,
            .k = k,
            .a = a,
            .a_row = a_row,
            .a_term = 1,
            .a_group = kPanelRows * a_row,
            .b = packed,
            .b_rows = k,
            .b_columns = round_up(n, kPanelColumns),
            .c = c,
            .c_row = n,
            .add = false};
}

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
