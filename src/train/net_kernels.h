// What training computes, one table of functions per instruction set: matrix products with packed panels, and the
// backward passes of row operations. Bodies are written once over simd/vec.h (net_kernels.inl) and give the same bits on
// every instruction set. Unlike in src/kernels, matrix products fuse multiply and add: fmaf and the vector instructions
// are the same exactly rounded operation. Includes nothing but fixed-width integers. Tables are immutable; share freely.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sterna::train {

constexpr int64_t kPanelColumns = 16;  // columns of B packed side by side
constexpr int64_t kPanelRows = 6;      // rows of A packed side by side; the height of the register tile
constexpr int64_t kDepth = 256;        // terms that a product adds up in registers before it adds to C
constexpr int64_t kBf16Terms = 32;     // terms of one tile product of AMX-bf16

constexpr int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}
// Floats of a packed B of k rows and n columns: blocks of kDepth rows, in each of them panels of [rows][16].
constexpr int64_t packed_floats(int64_t k, int64_t n) {
    return k * round_up(n, kPanelColumns);
}
// Floats of rows of tokens packed as A of a product that sums over tokens: blocks of kDepth tokens, in each of them groups
// of six columns, [kDepth][6]; and as B, panels of [kDepth][16].
constexpr int64_t turned_floats(int64_t n_tokens, int64_t n) {
    return round_up(n_tokens, kDepth) * round_up(n, kPanelRows);
}
constexpr int64_t panel_floats(int64_t n_tokens, int64_t n) {
    return round_up(n_tokens, kDepth) * round_up(n, kPanelColumns);
}

// C[i, j] (+)= sum over t of A[i, t] * B[t, j]: blocks of kDepth terms in order, in each of them fused from 0 in order of
// t, their sums added to C in order.
struct GemmArgs {
    int64_t m, n, k;
    const float* a;
    int64_t a_row, a_term;  // A[i, t] = a[i / 6 * a_group + i % 6 * a_row + t * a_term]
    int64_t a_group;        // 6 * a_row where A is not packed
    const float* b;         // packed; panel 0 of the first block
    int64_t b_rows;         // of the whole packed matrix, >= k
    int64_t b_columns;      // of the whole packed matrix, a multiple of 16
    float* c;
    int64_t c_row;
    bool add;  // to what C holds
};

using GemmFn = void (*)(const GemmArgs& args);

struct AdamArgs {
    float* value;
    const float* gradient;
    float* mean;
    float* square;
    int64_t n;
    float gradient_scale;  // clipping
    float beta1, beta2;
    float rate;          // learning rate / (1 - beta1^step)
    float square_scale;  // 1 / (1 - beta2^step)
    float epsilon;
    float keep;  // 1 - learning rate * weight decay
};

struct NetKernels {
    const char* name;

    GemmFn gemm;
    // For A and B of bfloat16 numbers, in the order of TDPBF16PS (Intel's instruction set reference): of each kBf16Terms terms
    // of a block the even ones are fused from 0, the odd ones apart from them, and the sum of both is added to the block's;
    // denormal numbers count as zero, on the way in and on the way out.
    GemmFn gemm_bf16;
    // Rows side by side to panels of 16 columns: panel j holds x[t * x_row + 16 j ...] at to + j * panel + 16 t, for k rows
    // and n columns; columns past n become zero.
    void (*pack_rows)(const float* x, int64_t x_row, int64_t k, int64_t n, int64_t panel, float* to);
    void (*pack_rows_s8)(const int8_t* x, int64_t x_row, int64_t k, int64_t n, int64_t panel, int8_t* to);
    // The latter's panels to packed floats: row t times scale[t].
    void (*unpack_s8)(const int8_t* x, const float* scale, int64_t k, int64_t n, int64_t panel, float* to);
    // Columns side by side: panel j holds x[(16 j + lane) * x_row + t] in lane `lane` of to + j * panel + 16 t.
    void (*pack_columns)(const float* x, int64_t x_row, int64_t k, int64_t n, int64_t panel, float* to);
    // To groups of six columns: x[t * x_row + 6 g + i] at to + g * group + 6 t + i; columns past n become zero.
    void (*pack_turned)(const float* x, int64_t x_row, int64_t k, int64_t n, int64_t group, float* to);

    // dx = (add ? add : 0) + the gradient of y = x / sqrt(mean(x^2) + eps) * weight for dy; dweight += its gradient. dx may
    // be add or dy.
    void (*rms_norm_backward)(const float* x, const float* weight, const float* dy, float eps, int64_t n,
                              const float* add, float* dx, float* dweight);
    // For y = f(gate) * up; dgate may be gate, dup may be up.
    void (*silu_mul_backward)(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup);
    void (*relu2_mul_backward)(const float* gate, const float* up, const float* dy, int64_t n, float* dgate,
                               float* dup);

    // One scale for the whole row: s = max(max|x|, smallest) / 127, q = x * (1 / s) to the nearest even integer, also as
    // floats (which may replace x) unless as_float is null, and each 16 added up unless sums is null. Returns s.
    float (*quantize_row)(const float* x, int64_t n, float smallest, int8_t* q, float* as_float, int16_t* sums);
    void (*s8_to_f32)(const int8_t* q, int64_t n, float* y);
    // y = y * (row_scale * column_scale)
    void (*scale_columns)(float* y, float row_scale, const float* column_scale, int64_t n);
    // y = clip(round(x * factor), -1, 1)
    void (*ternarize)(const float* x, float factor, int64_t n, float* y);

    float (*dot)(const float* a, const float* b, int64_t n);
    float (*sum_abs)(const float* x, int64_t n);
    // y = exp(x - offset)
    void (*exp_minus)(const float* x, float offset, int64_t n, float* y);
    // ds = p * (dp - delta) * scale
    void (*softmax_backward)(const float* p, const float* dp, float delta, float scale, int64_t n, float* ds);

    // To bfloat16 and back, nearest even.
    void (*round_bf16)(const float* x, int64_t n, float* y);

    void (*adam)(const AdamArgs& args);
    // y = a * x + b * y
    void (*scale_add)(float a, const float* x, float b, int64_t n, float* y);
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

// A whole packed B of k rows and n columns: B[t, j] = x[t * x_row + j], or x[j * x_row + t].
inline void pack_b(const NetKernels& table, bool columns, const float* x, int64_t x_row, int64_t k, int64_t n,
                   float* b) {
    for (int64_t t = 0; t < k; t += kDepth) {
        const int64_t depth = k - t < kDepth ? k - t : kDepth;
        float* to = b + t * round_up(n, kPanelColumns);
        if (columns) {
            table.pack_columns(x + t, x_row, depth, n, depth * kPanelColumns, to);
        } else {
            table.pack_rows(x + t * x_row, x_row, depth, n, depth * kPanelColumns, to);
        }
    }
}

// The table that goes with kernels::active(), so STERNA_ISA chooses here too.
const NetKernels& active_kernels();
// Every table that this CPU can run, scalar first, for tests.
struct NetKernelList {
    const NetKernels* tables[4];
    int n;
};
NetKernelList all_kernels();
// For tests: what active_kernels() returns from now on. Null: the usual choice.
void use_kernels(const NetKernels* table);

}  // namespace sterna::train
