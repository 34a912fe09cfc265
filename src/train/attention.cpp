#include "train/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

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

// scores = scale * queries . keys, for `rows` queries from `first` on and all keys before the last of them.
void compute_scores(const NetKernels& table, const AttentionSpan& s, const Scratch& scratch, const float* q,
                    int64_t first, int64_t rows) {
    const float scale = attention_scale(s.head_dim);
    for (int64_t i = 0; i < rows; ++i)
        kernels::active().scale(q + (first + i) * s.row, scale, s.head_dim, scratch.queries + i * s.head_dim);
    table.gemm({.m = rows,
                .n = first + rows,
                .k = s.head_dim,
                .a = scratch.queries,
                .a_row = s.head_dim,
                .a_term = 1,
                .a_group = kPanelRows * s.head_dim,
                .b = scratch.keys,
                .b_rows = s.head_dim,
                .b_columns = round_up(s.length, kPanelColumns),
                .c = scratch.scores,
                .c_row = scratch.score_row,
                .add = false});
}

}  // namespace

int64_t attention_floats(int64_t length, int64_t head_dim) {
    const int64_t n = round_up(length, kPanelColumns), dim = round_up(head_dim, kPanelColumns);
    return 3 * n * dim + 2 * kQueries * (round_up(n, 2 * kPanelColumns) + kPanelColumns) + 2 * kQueries * dim;
}

void attention_forward(const NetKernels& table, const AttentionSpan& s) {
    const Scratch scratch = lay_out(s);
    const int64_t dim_columns = round_up(s.head_dim, kPanelColumns);
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
            table.gemm({.m = rows,
                        .n = s.head_dim,
                        .k = n_keys,
                        .a = scratch.scores,
                        .a_row = scratch.score_row,
                        .a_term = 1,
                        .a_group = kPanelRows * scratch.score_row,
                        .b = scratch.values,
                        .b_rows = s.length,
                        .b_columns = dim_columns,
                        .c = s.out + first * s.out_row + head * s.head_dim,
                        .c_row = s.out_row,
                        .add = false});
        }
    }
}

void attention_backward(const NetKernels& table, const AttentionSpan& s, const AttentionGradients& g) {
    const Scratch scratch = lay_out(s);
    const int64_t columns = round_up(s.length, kPanelColumns), dim_columns = round_up(s.head_dim, kPanelColumns);
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
            table.gemm({.m = rows,
                        .n = n_keys,
                        .k = s.head_dim,
                        .a = dout,
                        .a_row = s.out_row,
                        .a_term = 1,
                        .a_group = kPanelRows * s.out_row,
                        .b = scratch.values,
                        .b_rows = s.head_dim,
                        .b_columns = columns,
                        .c = scratch.more_scores,
                        .c_row = scratch.score_row,
                        .add = false});
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
            table.gemm({.m = rows,
                        .n = s.head_dim,
                        .k = n_keys,
                        .a = scratch.more_scores,
                        .a_row = scratch.score_row,
                        .a_term = 1,
                        .a_group = kPanelRows * scratch.score_row,
                        .b = scratch.key_rows,
                        .b_rows = s.length,
                        .b_columns = dim_columns,
                        .c = g.dq + first * s.row + head * s.head_dim,
                        .c_row = s.row,
                        .add = false});
            auto add_turned = [&](const float* scores, const float* x, int64_t x_row, float* to) {
                pack_b(table, false, x, x_row, rows, s.head_dim, scratch.packed);
                table.gemm({.m = n_keys,
                            .n = s.head_dim,
                            .k = rows,
                            .a = scores,
                            .a_row = 1,
                            .a_term = scratch.score_row,
                            .a_group = kPanelRows,
                            .b = scratch.packed,
                            .b_rows = rows,
                            .b_columns = dim_columns,
                            .c = to,
                            .c_row = s.row,
                            .add = true});
            };
            add_turned(scratch.scores, dout, s.out_row, g.dv);
            add_turned(scratch.more_scores, q + first * s.row, s.row, g.dk);
        }
    }
}

}  // namespace sterna::train
