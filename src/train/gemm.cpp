#include "train/gemm.h"

#include <algorithm>

namespace sterna::train {

namespace {

// An output tile, its part of dy and its part of x for kDepth tokens (48, 96 and 128 KiB) fit into a core's L2 cache.
constexpr int64_t kTileRows = 96;
constexpr int64_t kTileColumns = 128;

// Rows of each tile when n rows are cut into as few as possible, evenly.
int64_t even_cut(int64_t n, int64_t largest, int64_t multiple) {
    const int64_t n_tiles = (n + largest - 1) / largest;
    return round_up((n + n_tiles - 1) / n_tiles, multiple);
}

}  // namespace

int64_t outer_scratch_floats() {
    return kTileColumns * kDepth;
}

void OuterProducts::run(std::span<const OuterProduct> products, bool bf16, ThreadPool& pool,
                        std::span<float* const> scratch) {
    const NetKernels& table = active_kernels();
    const GemmFn gemm = bf16 ? table.gemm_bf16 : table.gemm;
    tiles_.clear();
    for (size_t p = 0; p < products.size(); ++p) {
        const int64_t rows = even_cut(products[p].rows, kTileRows, kPanelRows);
        const int64_t columns = even_cut(products[p].columns, kTileColumns, kPanelColumns);
        for (int64_t j = 0; j < products[p].columns; j += columns)
            for (int64_t i = 0; i < products[p].rows; i += rows) tiles_.push_back({int(p), i, j});
    }
    pool.run(int(tiles_.size()), [&](int task, int worker) {
        const Tile& tile = tiles_[size_t(task)];
        const OuterProduct& p = products[size_t(tile.product)];
        const int64_t rows = std::min(even_cut(p.rows, kTileRows, kPanelRows), p.rows - tile.row);
        const int64_t columns = std::min(even_cut(p.columns, kTileColumns, kPanelColumns), p.columns - tile.column);
        for (int64_t t = 0; t < p.n_tokens; t += kDepth) {
            const int64_t k = std::min(kDepth, p.n_tokens - t);
            const int64_t x_at = t * round_up(p.columns, kPanelColumns) + tile.column * kDepth;
            const float* b = scratch[size_t(worker)];
            if (p.x) {
                b = p.x + x_at;
            } else {
                float* unpacked = scratch[size_t(worker)];
                table.unpack_s8(p.q + x_at, p.scale + t, k, columns, kDepth * kPanelColumns, unpacked);
                if (bf16) table.round_bf16(unpacked, k * round_up(columns, kPanelColumns), unpacked);
            }
            gemm({.m = rows,
                  .n = columns,
                  .k = k,
                  .a = p.dy + t * round_up(p.rows, kPanelRows) + tile.row * kDepth,
                  .a_row = 1,
                  .a_term = kPanelRows,
                  .a_group = kDepth * kPanelRows,
                  .b = b,
                  .b_rows = p.x ? kDepth : k,
                  .b_columns = round_up(columns, kPanelColumns),
                  .c = p.out + tile.row * p.columns + tile.column,
                  .c_row = p.columns,
                  .add = true});
        }
    });
}

}  // namespace sterna::train
