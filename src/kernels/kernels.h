// The numeric kernels: one table of function pointers per instruction set (ISA), bodies written once over simd/vec.h.
// Every table gives the same bits (docs/numerics.md): one lane is one output, reductions run in index order, nothing
// fuses. This folder includes nothing but fixed-width integers and intrinsics. Tables are immutable; share freely.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sterna::kernels {

constexpr int kPanelRows = 16;        // output rows packed side by side: one lane each
constexpr int kPanelsTogether = 4;    // panels that a product may go through side by side: best in multiples of it
constexpr int kTilePositions = 16;    // cache positions packed side by side in K
constexpr int kAttentionChunk = 512;  // positions reduced together; chunks start at multiples of it and merge in order

// ---- Linear layers ------------------------------------------------------------------------------------------------

// How a matrix lies in memory after packing (layouts are drawn in kernels/layout.h).
// clang-format off
enum class WeightKind : uint8_t {
    kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K, kIQ4_NL, kIQ4_XS, kMXFP4,
    kTQ1_0, kTQ2_0,
    kCount,
};
// clang-format on

// What a weight kind multiplies with: floats, or int8 with one float scale per 32 or per 256 values.
enum class ActKind : uint8_t { kF32, kQ8_32, kQ8_256 };

ActKind act_kind(WeightKind kind);

// Activations of n_tokens rows of n_cols values. Which members are set follows from the kind.
//   kF32:    values
//   kQ8_32:  q, scales (one per 32), sums (one per 32: the sum of its q)
//   kQ8_256: q, scales (one per 256), sums (one per 16)
// Token t's row starts at t * n_cols (values, q), t * n_scales (scales), t * n_sums (sums). q is in [-127, 127].
struct Activations {
    const float* values;
    const int8_t* q;
    const float* scales;
    const int16_t* sums;
    int64_t n_scales;  // per token
    int64_t n_sums;    // per token
};

// out[t * out_stride + row] = sum over columns of W[row, col] * x[t, col], for the rows of panels [panel_begin,
// panel_end).
struct MatmulArgs {
    const uint8_t* weights;  // panel 0; 64-byte aligned
    int64_t panel_bytes;
    int64_t panel_begin, panel_end;
    int64_t n_rows;  // rows past it exist as zero lanes in the last panel and are not stored
    int64_t n_cols;
    Activations x;
    int64_t n_tokens;
    float* out;
    int64_t out_stride;
    uint8_t* scratch;  // kMatmulScratchBytes, 64-byte aligned, private to the calling thread
};
constexpr int64_t kMatmulScratchBytes = 1 << 20;

using MatmulFn = void (*)(const MatmulArgs& args);

// ---- Attention ----------------------------------------------------------------------------------------------------

// A page holds page_positions (a multiple of kTilePositions) positions of one layer and one KV head at k_offset and
// v_offset.
// clang-format off
//   K, f16:   tiles of 16 positions: [head_dim_k][16] halves
//   K, q8_0:  tiles of 16 positions: [head_dim_k/4][16][4] int8, then [head_dim_k/32][16] halves (scales)
//   V, f16:   [position][head_dim_v] halves
//   V, q8_0:  per position head_dim_v int8, then head_dim_v/32 halves (scales)
//   K and V, f32: as f16, with floats in place of halves (witness tests; nothing is rounded)
// clang-format on
enum class KvKind : uint8_t { kF16, kQ8_0, kF32 };

// Bytes of one page's K (V) for one head. Requires for kQ8_0: head_dim % 32 == 0.
int64_t k_page_bytes(KvKind kind, int64_t page_positions, int64_t head_dim_k);
int64_t v_page_bytes(KvKind kind, int64_t page_positions, int64_t head_dim_v);

// out[i] = sum over p in [begin, end) of softmax_p(scale * q[i].k[p]) * v[p] for n_q query heads that share one KV
// head. softcap > 0: scores become softcap * tanh(score / softcap). sinks: one extra logit per query head in the
// denominator, or null. Chunks are [512 i, 512 (i+1)) clipped to [begin, end): the result does not depend on how work
// was split or batched.
struct AttentionArgs {
    KvKind kind;
    const uint8_t* const* pages;  // pages[p / page_positions]
    int64_t page_positions;
    int64_t k_offset, v_offset;
    int64_t begin, end;  // end > begin
    int64_t head_dim_k, head_dim_v;
    int64_t n_q;
    const float* q;  // [n_q][q_stride]
    int64_t q_stride;
    float* out;  // [n_q][out_stride]
    int64_t out_stride;
    float scale;
    float softcap;
    const float* sinks;  // [n_q] or null
    float* scratch;      // attention_scratch_floats(...) floats, 64-byte aligned
    // Null, or where attention() leaves the sums of [begin, end), which then lies in one chunk, instead of writing out:
    // attention_part_floats(...) floats, 64-byte aligned.
    float* part = nullptr;
};
int64_t attention_scratch_floats(int64_t head_dim_k, int64_t head_dim_v, int64_t n_q);
int64_t attention_part_floats(int64_t head_dim_v, int64_t n_q);

// Writes the key and value of one position into its page.
struct KvStoreArgs {
    KvKind kind;
    uint8_t* page;
    int64_t page_positions, slot;  // slot in [0, page_positions)
    int64_t k_offset, v_offset;
    int64_t head_dim_k, head_dim_v;
    const float* k;
    const float* v;
};

// ---- The table ----------------------------------------------------------------------------------------------------

struct Kernels {
    const char* name;  // "scalar", "avx2", "avx512", "amx", "neon", "neon_dot", "wasm"

    MatmulFn matmul[int(WeightKind::kCount)];

    // Requires: n % 32 == 0 (kQ8_32), n % 256 == 0 (kQ8_256). scale = max|x| / 127; q = round to nearest even of x * (1
    // / scale), 0 when scale is 0.
    void (*quantize_q8_32)(const float* x, int64_t n, int8_t* q, float* scales, int16_t* sums);
    void (*quantize_q8_256)(const float* x, int64_t n, int8_t* q, float* scales, int16_t* sums);

    // y = x / sqrt(mean(x^2) + eps) * weight; weight may be null. Lane sums: 16 strided partial sums and one fixed
    // tree. y may be x.
    void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
    // y = (x - mean) / sqrt(variance + eps) * weight + bias; weight and bias may be null. y may be x.
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);

    // Rotates n_heads heads of head_dim values in place; the first 2 * n_pairs values of a head turn, pair i by
    // (cosine[i], sine[i]).
    void (*rope_adjacent)(float* x, int64_t n_heads, int64_t head_dim, int64_t n_pairs, const float* cosine,
                          const float* sine);  // (2i, 2i+1)
    void (*rope_half)(float* x, int64_t n_heads, int64_t head_dim, int64_t n_pairs, const float* cosine,
                      const float* sine);  // (i, i + n_pairs)

    void (*add)(const float* a, const float* b, int64_t n, float* y);  // y may be a or b
    void (*mul)(const float* a, const float* b, int64_t n, float* y);
    void (*scale)(const float* a, float factor, int64_t n, float* y);
    void (*add_scaled)(const float* a, const float* b, float factor, int64_t n, float* y);  // y = a + b * factor
    void (*silu_mul)(const float* gate, const float* up, int64_t n, float* y);   // gate / (1 + exp(-gate)) * up
    void (*gelu_mul)(const float* gate, const float* up, int64_t n, float* y);   // tanh form of GELU(gate) * up
    void (*relu2_mul)(const float* gate, const float* up, int64_t n, float* y);  // max(gate, 0)^2 * up
    void (*gelu)(const float* x, int64_t n, float* y);                           // tanh form
    void (*gelu_erf)(const float* x, int64_t n, float* y);                       // exact form
    void (*silu)(const float* x, int64_t n, float* y);
    void (*softcap)(const float* x, float cap, int64_t n, float* y);  // cap * tanh(x / cap)
    // y = softmax(x); the maximum is subtracted first. Returns log(sum exp(x - max)) + max.
    float (*softmax)(const float* x, int64_t n, float* y);
    float (*log_sum_exp)(const float* x, int64_t n);

    void (*attention)(const AttentionArgs& args);
    // Writes out from the parts of all chunks of [begin, end), in order and side by side: the bits of attention().
    void (*attention_merge)(const AttentionArgs& args, const float* parts);
    void (*kv_store)(const KvStoreArgs& args);
};

// The best table for this CPU, or the one named by STERNA_ISA; chosen once. An unknown or unusable name is reported by
// isa_error().
const Kernels& active();
// Null unless STERNA_ISA names a table that does not exist or that this CPU cannot run, or a table gave other bits than
// the scalar one in a short test and is therefore not in all(); then a sentence.
const char* isa_error();
// Every table that this CPU can run, scalar first. Tests and benchmarks run them all.
struct KernelList {
    const Kernels* const* tables;
    int n;
};
KernelList all();
const Kernels* by_name(const char* name);

// ---- Scalar mathematics -------------------------------------------------------------------------------------------

// Own transcendentals, from + - * / sqrt and bit operations only: the same bits everywhere. Float versions are those of
// the vector kernels; double versions (for RoPE tables) are accurate to a few units in the last place of double.
float exp_f32(float x);
float log_f32(float x);
float tanh_f32(float x);
double exp_f64(double x);
double log_f64(double x);
double pow_f64(double base, double exponent);
double sin_f64(double x);
double cos_f64(double x);

}  // namespace sterna::kernels
