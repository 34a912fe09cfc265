// Matrix products of the float kinds: acc = acc + w * x, column after column, whatever the number of tokens.
namespace sterna::kernels {
namespace {

struct FloatF32 {
    static constexpr int kBytes = 64;
    static STERNA_INLINE F32 column(const uint8_t* p) { return load_f32(reinterpret_cast<const float*>(p)); }
};
struct FloatF16 {
    static constexpr int kBytes = 32;
    static STERNA_INLINE F32 column(const uint8_t* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
};
struct FloatBF16 {
    static constexpr int kBytes = 32;
    static STERNA_INLINE F32 column(const uint8_t* p) { return load_bf16(reinterpret_cast<const uint16_t*>(p)); }
};

template <typename F, int T>
STERNA_INLINE void float_tile(const uint8_t* weights, const float* x, int64_t n_cols, float* out, int64_t out_stride,
                              int valid) {
    F32 acc[T];
    unroll<T>([&](auto t) STERNA_LAMBDA { acc[t] = zero_f32(); });
    for (int64_t col = 0; col < n_cols; ++col) {
        const uint8_t* p = weights + col * F::kBytes;
        if (T == 1) prefetch(p + kPrefetchBytes);
        const F32 w = F::column(p);
        unroll<T>([&](auto t) STERNA_LAMBDA { acc[t] = acc[t] + w * splat(x[t * n_cols + col]); });
    }
    unroll<T>([&](auto t) STERNA_LAMBDA { store_first(out + t * out_stride, acc[t], valid); });
}

// Few tokens: every tile turns the weights into floats.
template <typename F>
void multiply_few(const MatmulArgs& args, const float* x, int64_t n_tokens, float* out) {
    for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
        const uint8_t* weights = args.weights + panel * args.panel_bytes;
        const int64_t row = panel * kPanelRows, left = args.n_rows - row;
        for_tiles<4>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
            float_tile<F, T>(weights, x + token * args.n_cols, args.n_cols, out + token * args.out_stride + row,
                             args.out_stride, left < kPanelRows ? int(left) : kPanelRows);
        });
    }
}

#if !defined(STERNA_ISA_SCALAR)
// Columns that a pass over the panels takes: those of one panel as floats, and a tile's values of them, stay in the
// first-level cache.
constexpr int kFloatColumns = 256;
// From so many tokens on it pays.
constexpr int64_t kManyTokens = 12;

// [token][column] -> [column][token]
template <int T>
STERNA_INLINE void pack_columns(const float* x, int64_t stride, int n, float* to) {
    int col = 0;
    for (; T % 4 == 0 && col + 4 <= n; col += 4) {
        for (int t = 0; t < T; t += 4) {
            const int8_t* rows[4];
            for (int i = 0; i < 4; ++i) rows[i] = reinterpret_cast<const int8_t*>(x + (t + i) * stride + col);
            transpose_words(rows, 4 * T, reinterpret_cast<int8_t*>(to + T * col + t));
        }
    }
    for (; col < n; ++col)
        for (int t = 0; t < T; ++t) to[T * col + t] = x[t * stride + col];
}

// n columns more of 16 rows for T tokens. weights: [n][16], x: [n][T]. Starts: nothing has been added up yet.
template <int T>
__attribute__((noinline)) void add_columns(const float* weights, const float* x, int n, bool starts, float* out,
                                           int64_t out_stride, int valid) {
    F32 acc[T];
    unroll<T>([&](auto t) STERNA_LAMBDA { acc[t] = starts ? zero_f32() : load_first(out + t * out_stride, valid); });
#pragma GCC unroll 2
    for (int col = 0; col < n; ++col) {
        const F32 w = load_f32(weights + 16 * col);
        unroll<T>([&](auto t) STERNA_LAMBDA { acc[t] = acc[t] + w * splat(x[T * col + t]); });
    }
    unroll<T>([&](auto t) STERNA_LAMBDA { store_first(out + t * out_stride, acc[t], valid); });
}

// scratch: (kGroupTokens + kPanelRows) * kFloatColumns floats. The sums wait in `out` from one pass to the next.
template <typename F>
void multiply_many(const MatmulArgs& args, const float* x, int64_t n_tokens, float* out, float* scratch) {
    static_assert((kGroupTokens + kPanelRows) * kFloatColumns * int64_t(sizeof(float)) <= kMatmulScratchBytes);
    float* const packed =
        scratch;  // [tile][column][token]: read in place, tokens would push one another out of the cache
    float* const columns = scratch + kGroupTokens * kFloatColumns;
    for (int64_t first = 0; first < args.n_cols; first += kFloatColumns) {
        const int n = args.n_cols - first < kFloatColumns ? int(args.n_cols - first) : kFloatColumns;
        for_tiles<kTileTokens>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
            pack_columns<T>(x + token * args.n_cols + first, args.n_cols, n, packed + token * n);
        });
        for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
            const uint8_t* p = args.weights + panel * args.panel_bytes + first * F::kBytes;
            const float* weights = columns;
            if constexpr (F::kBytes == 64)
                weights = reinterpret_cast<const float*>(p);
            else
                for (int col = 0; col < n; ++col) store(columns + 16 * col, F::column(p + col * F::kBytes));
            const int64_t row = panel * kPanelRows, left = args.n_rows - row;
            for_tiles<kTileTokens>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
                add_columns<T>(weights, packed + token * n, n, first == 0, out + token * args.out_stride + row,
                               args.out_stride, left < kPanelRows ? int(left) : kPanelRows);
            });
        }
    }
}
#endif

template <typename F>
void matmul_float(const MatmulArgs& args) {
    for (int64_t token = 0; token < args.n_tokens; token += kGroupTokens) {
        const int64_t n = args.n_tokens - token < kGroupTokens ? args.n_tokens - token : kGroupTokens;
        const float* x = args.x.values + token * args.n_cols;
        float* out = args.out + token * args.out_stride;
#if !defined(STERNA_ISA_SCALAR)
        if (n >= kManyTokens) {
            multiply_many<F>(args, x, n, out, reinterpret_cast<float*>(args.scratch));
            continue;
        }
#endif
        multiply_few<F>(args, x, n, out);
    }
}

}  // namespace
}  // namespace sterna::kernels
