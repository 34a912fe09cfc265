// The values that a block can hold once its scales are chosen, and how to choose among them: for encoders that decide
// levels one after the other (convert/feedback.h). Pure functions; thread-safe.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace sterna {

// A run of elements that share a scale: their values are scale * level + offset, level in 0..n_levels - 1; with a table,
// scale * table[level].
struct BlockGrid {
    static constexpr int kMaxRuns = 16;
    int n_runs = 0, run_elements = 0, n_levels = 0;
    const int8_t* table = nullptr;  // 16 ascending levels
    float scale[kMaxRuns] = {}, offset[kMaxRuns] = {};
};

// False for types whose blocks have no such grid (plain ones, ternary ones, MXFP4).
bool has_block_grid(DType type);

// Requires: has_block_grid(type).
BlockGrid read_block_grid(DType type, const uint8_t* block);
// Replaces the levels of all the block's elements; scales stay.
void write_block_levels(DType type, const uint8_t* levels, uint8_t* block);

// The nearest level of a run, and its value.
uint8_t nearest_level(const BlockGrid& grid, int run, float x);
inline float level_value(const BlockGrid& grid, int run, uint8_t level) {
    return grid.table ? grid.scale[run] * float(grid.table[level]) : grid.scale[run] * float(level) + grid.offset[run];
}

}  // namespace sterna
