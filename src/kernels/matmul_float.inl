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

// One token's lines are asked for so far ahead.
#if defined(STERNA_ISA_AVX512)
constexpr int64_t kFloatAheadBytes = 4096;
#else
constexpr int64_t kFloatAheadBytes = 1536;
#endif

template <typename F, int T>
STERNA_INLINE void float_tile(const uint8_t* weights, const float* x, int64_t n_cols, float* out, int64_t out_stride,
                              int valid) {
    F32 acc[T];
    unroll<T>([&](auto t) STERNA_LAMBDA { acc[t] = zero_f32(); });
    for (int64_t col = 0; col < n_cols; ++col) {
        const uint8_t* p = weights + col * F::kBytes;
        if (T == 1 && col % (64 / F::kBytes) == 0) prefetch(p + kFloatAheadBytes);
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
        const int64_t row = panel * kPanelRows;
        const int valid = rows_of(args, panel);
        for_tiles<4>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
            float_tile<F, T>(weights, x + token * args.n_cols, args.n_cols, out + token * args.out_stride + row,
                             args.out_stride, valid);
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
    const int8_t* rows[T];
    for (int t = 0; t < T; ++t) rows[t] = reinterpret_cast<const int8_t*>(x + t * stride);
    int col = 0;
    for (; col + 4 <= n; col += 4) {
        transpose_words<T>(rows, reinterpret_cast<int8_t*>(to + T * col));
        for (int t = 0; t < T; ++t) rows[t] += 16;
    }
    for (; col < n; ++col)
        for (int t = 0; t < T; ++t) to[T * col + t] = x[t * stride + col];
}

// n columns more of P panels for T tokens. weights: [n][16] per panel, panels weight_stride floats apart; x: [n][T]. Starts:
// nothing has been added up yet. valid: the rows that the last panel has.
template <int P, int T>
__attribute__((noinline)) void add_columns(const float* weights, int64_t weight_stride, const float* x, int n,
                                           bool starts, float* out, int64_t out_stride, int valid) {
    const auto valid_of = [valid](int p) { return p == P - 1 ? valid : kPanelRows; };
    F32 acc[P * T];
    unroll<P * T>([&](auto k) STERNA_LAMBDA {
        constexpr int p = k / T, t = k % T;
        acc[k] = starts ? zero_f32() : load_first(out + t * out_stride + p * kPanelRows, valid_of(p));
    });
#pragma GCC unroll 2
    for (int col = 0; col < n; ++col) {
        F32 w[P];
        unroll<P>([&](auto p) STERNA_LAMBDA { w[p] = load_f32(weights + p * weight_stride + 16 * col); });
        unroll<T>([&](auto t) STERNA_LAMBDA {
            const F32 value = splat(x[T * col + t]);
            unroll<P>([&](auto p) STERNA_LAMBDA { acc[p * T + t] = acc[p * T + t] + w[p] * value; });
        });
    }
    unroll<P * T>([&](auto k) STERNA_LAMBDA {
        constexpr int p = k / T, t = k % T;
        store_first(out + t * out_stride + p * kPanelRows, acc[k], valid_of(p));
    });
}

// The columns [first, first + n) of P panels for a group of tokens. columns: room for P panels of kFloatColumns.
template <typename F, int P>
void multiply_columns(const MatmulArgs& args, int64_t panel, int64_t first, int n, const float* packed,
                      int64_t n_tokens, float* out, float* columns) {
    const uint8_t* p = args.weights + panel * args.panel_bytes + first * F::kBytes;
    const float* weights = columns;
    int64_t stride = kPanelRows * kFloatColumns;
    if constexpr (F::kBytes == 64) {
        weights = reinterpret_cast<const float*>(p);
        stride = args.panel_bytes / int64_t(sizeof(float));
    } else {
        for (int i = 0; i < P; ++i)
            for (int col = 0; col < n; ++col)
                store(columns + i * stride + 16 * col, F::column(p + i * args.panel_bytes + col * F::kBytes));
    }
    const int64_t row = panel * kPanelRows;
    const int valid = rows_of(args, panel + P - 1);
    for_tiles<kTileTokens>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
        add_columns<P, T>(weights, stride, packed + token * n, n, first == 0, out + token * args.out_stride + row,
                          args.out_stride, valid);
    });
}

// scratch: (kGroupTokens + kTilePanels * kPanelRows) * kFloatColumns floats. The sums wait in `out` from one pass to the
// next.
template <typename F>
void multiply_many(const MatmulArgs& args, const float* x, int64_t n_tokens, float* out, float* scratch) {
    static_assert((kGroupTokens + kTilePanels * kPanelRows) * kFloatColumns * int64_t(sizeof(float)) <=
                  kMatmulScratchBytes);
    float* const packed =
        scratch;  // [tile][column][token]: read in place, tokens would push one another out of the cache
    float* const columns = scratch + kGroupTokens * kFloatColumns;
    for (int64_t first = 0; first < args.n_cols; first += kFloatColumns) {
        const int n = args.n_cols - first < kFloatColumns ? int(args.n_cols - first) : kFloatColumns;
        for_tiles<kTileTokens>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
            pack_columns<T>(x + token * args.n_cols + first, args.n_cols, n, packed + token * n);
        });
        for_tiles<kTilePanels>(args.panel_begin, args.panel_end, [&](auto P, int64_t panel) STERNA_LAMBDA {
            multiply_columns<F, P>(args, panel, first, n, packed, n_tokens, out, columns);
        });
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
