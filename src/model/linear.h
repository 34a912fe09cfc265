// Matrix products of a step: several at once over the same input rows, which are turned to int8 once per form that the
// matrices want. Work is split by panels of output rows, so no thread shares a sum. Used by blocks; thread-compatible.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "model/weights.h"

namespace sterna {

struct ForwardContext;

// One matrix on rows [row_begin, row_begin + n_rows) of the input: out[t * out_stride + r] = (W x_t)[r] * scale +
// bias[r].
struct MatmulPart {
    const PackedMatrix* matrix = nullptr;
    const float* bias = nullptr;
    float scale = 1.0f;
    int64_t first_panel = 0;  // of the matrix
    float* out = nullptr;     // where row 0 of the matrix would go
};

// A matrix, or two of equal size whose outputs meet in an activation: act[t][r] = f(main[t][r]) * second[t][r].
struct MatmulJob {
    MatmulPart main;
    MatmulPart second;  // matrix null: none
    int64_t n_panels = 0;
    int64_t n_out = 0;  // rows of `main` that this job makes
    int64_t out_stride = 0;
    int64_t row_begin = 0, n_rows = 0;
    float* act = nullptr;  // [n_rows][act_stride]; null: no activation
    int64_t act_stride = 0;
    const float* second_out = nullptr;  // row 0 of the second factor
};

struct MatmulTask {
    int32_t job;
    int32_t panel_begin, panel_end;
};

// Rows that enter matrices: [n_rows][n_cols], no gaps.
struct Input {
    const float* values;
    int64_t n_rows;
    int64_t n_cols;
};

MatmulJob matmul_job(const Linear& linear, const Input& input, float* out, int64_t out_stride);

// Runs buffers.jobs[0, n) on this input, in one split over the pool.
void run_jobs(ForwardContext& c, const Input& input, std::span<const MatmulJob> jobs);

// out = W input (* scale, + bias)
void linear(ForwardContext& c, const Linear& weights, const Input& input, float* out);

}  // namespace sterna
