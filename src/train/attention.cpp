#include "train/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "train/gemm.h"

namespace sterna::train {

namespace {

// Queries whose scores are computed together; a multiple of kPanelRows. Their scores for 512 keys, twice, and the packed keys
// and values still fit into 1 MiB.
constexpr int64_t kQueries = 48;

// Where things lie in AttentionSpan::scratch.
struct Scratch {
    int64_t score_row;
    float* keys;         // packed [head_dim, length]
    float* key_rows;     // packed [length, head_dim]
    float* values;       // packed [length, head_dim] forward, [head_dim, length] backward
    float* scores;       // [kQueries, score_row]
    float* more_scores;  // [kQueries, score_row]
    float* queries;      // [kQueries, head_dim], times the scale
    float* packed;       // [kQueries, head_dim] packed
};

Scratch lay_out(const AttentionSpan& s) {
    const int64_t length = round_up(s.length, kPanelColumns), dim = round_up(s.head_dim, kPanelColumns);
    Scratch scratch;
    // Odd in cache lines: rows that are read side by side do not fall into the same set.
    scratch.score_row = round_up(length, 2 * kPanelColumns) + kPanelColumns;
    scratch.keys = s.scratch;
    scratch.key_rows = scratch.keys + length * dim;
    scratch.values = scratch.key_rows + length * dim;
    scratch.scores = scratch.values + length * dim;
    scratch.more_scores = scratch.scores + kQueries * scratch.score_row;
    scratch.queries = scratch.more_scores + kQueries * scratch.score_row;
    scratch.packed = scratch.queries + kQueries * dim;
    return scratch;
}

float attention_scale(int64_t head_dim) {
    return 1.0f / std::sqrt(float(head_dim));  // both exactly rounded
}

GemmFn gemm_of(const NetKernels& table, const AttentionSpan& s) {
    return s.bf16 ? table.gemm_bf16 : table.gemm;
}

// to [rows, n_keys] = x . columns, for rows of head_dim and the first n_keys of as many packed columns as there are positions.
void multiply_columns(const NetKernels& table, const AttentionSpan& s, const Scratch& scratch, const float* x,
                      int64_t x_row, int64_t rows, int64_t n_keys, const float* columns, float* to) {
    GemmArgs args = rows_times(x, x_row, rows, s.head_dim, columns, n_keys, to);
    args.b_columns = round_up(s.length, kPanelColumns);
    args.c_row = scratch.score_row;
    gemm_of(table, s)(args);
}

// scores = scale * queries . keys, for `rows` queries from `first` on and all keys before the last of them.
void compute_scores(const NetKernels& table, const AttentionSpan& s, const Scratch& scratch, const float* q,
                    int64_t first, int64_t rows) {
    const float scale = attention_scale(s.head_dim);
    if (s.bf16) {  // what enters the product is rounded, so the scale comes after it
        multiply_columns(table, s, scratch, q + first * s.row, s.row, rows, first + rows, scratch.keys, scratch.scores);
        for (float* row = scratch.scores; row < scratch.scores + rows * scratch.score_row; row += scratch.score_row)
            kernels::active().scale(row, scale, first + rows, row);
        return;
    }
    for (int64_t i = 0; i < rows; ++i)
        kernels::active().scale(q + (first + i) * s.row, scale, s.head_dim, scratch.queries + i * s.head_dim);
    multiply_columns(table, s, scratch, scratch.queries, s.head_dim, rows, first + rows, scratch.keys, scratch.scores);
}

// to [rows, head_dim] = scores [rows, n_keys] . the first n_keys packed rows
void sum_rows(const NetKernels& table, const AttentionSpan& s, const Scratch& scratch, const float* scores,
              int64_t rows, int64_t n_keys, const float* packed, float* to, int64_t to_row) {
    GemmArgs args = rows_times(scores, scratch.score_row, rows, n_keys, packed, s.head_dim, to);
    args.b_rows = s.length;
    args.c_row = to_row;
    gemm_of(table, s)(args);
}

// to [n_keys, head_dim] += scores^T . x, for `rows` rows of scores and of x
void add_turned(const NetKernels& table, const AttentionSpan& s, const Scratch& scratch, const float* scores,
                int64_t rows, int64_t n_keys, const float* x, int64_t x_row, float* to) {
    pack_b(table, false, x, x_row, rows, s.head_dim, scratch.packed);
    gemm_of(table, s)({.m = n_keys,
                       .n = s.head_dim,
                       .k = rows,
                       .a = scores,
                       .a_row = 1,
                       .a_term = scratch.score_row,
                       .a_group = kPanelRows,
                       .b = scratch.packed,
                       .b_rows = rows,
                       .b_columns = round_up(s.head_dim, kPanelColumns),
                       .c = to,
                       .c_row = s.row,
                       .add = true});
}

}  // namespace

int64_t attention_floats(int64_t length, int64_t head_dim) {
    const int64_t n = round_up(length, kPanelColumns), dim = round_up(head_dim, kPanelColumns);
    return 3 * n * dim + 2 * kQueries * (round_up(n, 2 * kPanelColumns) + kPanelColumns) + 2 * kQueries * dim;
}

void attention_forward(const NetKernels& table, const AttentionSpan& s) {
    const Scratch scratch = lay_out(s);
    pack_b(table, true, s.k, s.row, s.head_dim, s.length, scratch.keys);
    pack_b(table, false, s.v, s.row, s.length, s.head_dim, scratch.values);
    for (int64_t head = 0; head < s.n_queries; ++head) {
        for (int64_t first = 0; first < s.length; first += kQueries) {
            const int64_t rows = std::min(kQueries, s.length - first);
            const int64_t n_keys = first + rows;
            compute_scores(table, s, scratch, s.q + head * s.head_dim, first, rows);
            for (int64_t i = 0; i < rows; ++i) {
                float* row = scratch.scores + i * scratch.score_row;
                const int64_t visible = first + i + 1;
                s.log_sum[(first + i) * s.log_sum_row + head] = kernels::active().softmax(row, visible, row);
                std::fill(row + visible, row + n_keys, 0.0f);
                if (s.bf16) table.round_bf16(row, visible, row);
            }
            sum_rows(table, s, scratch, scratch.scores, rows, n_keys, scratch.values,
                     s.out + first * s.out_row + head * s.head_dim, s.out_row);
        }
    }
}

void attention_backward(const NetKernels& table, const AttentionSpan& s, const AttentionGradients& g) {
    const Scratch scratch = lay_out(s);
    const float scale = attention_scale(s.head_dim);
    pack_b(table, true, s.k, s.row, s.head_dim, s.length, scratch.keys);
    pack_b(table, false, s.k, s.row, s.length, s.head_dim, scratch.key_rows);
    pack_b(table, true, s.v, s.row, s.head_dim, s.length, scratch.values);
    for (int64_t t = 0; t < s.length; ++t) {
        std::fill_n(g.dk + t * s.row, s.head_dim, 0.0f);
        std::fill_n(g.dv + t * s.row, s.head_dim, 0.0f);
    }
    for (int64_t head = 0; head < s.n_queries; ++head) {
        const float* q = s.q + head * s.head_dim;
        for (int64_t first = 0; first < s.length; first += kQueries) {
            const int64_t rows = std::min(kQueries, s.length - first);
            const int64_t n_keys = first + rows;
            const float* out = s.out + first * s.out_row + head * s.head_dim;
            const float* dout = g.dout + first * s.out_row + head * s.head_dim;
            compute_scores(table, s, scratch, q, first, rows);
            multiply_columns(table, s, scratch, dout, s.out_row, rows, n_keys, scratch.values, scratch.more_scores);
            for (int64_t i = 0; i < rows; ++i) {
                float* p = scratch.scores + i * scratch.score_row;
                float* dp = scratch.more_scores + i * scratch.score_row;
                const int64_t visible = first + i + 1;
                table.exp_minus(p, s.log_sum[(first + i) * s.log_sum_row + head], visible, p);
                // The sum of p * dp: without rounding that is dout . out, which is shorter.
                const float delta = s.bf16 ? table.dot(p, dp, visible)
                                           : table.dot(dout + i * s.out_row, out + i * s.out_row, s.head_dim);
                table.softmax_backward(p, dp, delta, scale, visible, dp);
                if (s.bf16) {
                    table.round_bf16(p, visible, p);
                    table.round_bf16(dp, visible, dp);
                }
                std::fill(p + visible, p + n_keys, 0.0f);
                std::fill(dp + visible, dp + n_keys, 0.0f);
            }
            sum_rows(table, s, scratch, scratch.more_scores, rows, n_keys, scratch.key_rows,
                     g.dq + first * s.row + head * s.head_dim, s.row);
            add_turned(table, s, scratch, scratch.scores, rows, n_keys, dout, s.out_row, g.dv);
            add_turned(table, s, scratch, scratch.more_scores, rows, n_keys, q + first * s.row, s.row, g.dk);
        }
    }
}

}  // namespace sterna::train
