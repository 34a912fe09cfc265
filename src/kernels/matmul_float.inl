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

template <typename F>
void matmul_float(const MatmulArgs& args) {
    for (int64_t first = 0; first < args.n_tokens; first += kGroupTokens) {
        const int64_t end = args.n_tokens - first < kGroupTokens ? args.n_tokens : first + kGroupTokens;
        for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
            const uint8_t* weights = args.weights + panel * args.panel_bytes;
            const int64_t row = panel * kPanelRows, left = args.n_rows - row;
            const int valid = left < kPanelRows ? int(left) : kPanelRows;
            int64_t token = first;
            auto tile = [&](auto n) STERNA_LAMBDA {
                float_tile<F, n>(weights, args.x.values + token * args.n_cols, args.n_cols,
                                 args.out + token * args.out_stride + row, args.out_stride, valid);
                token += n;
            };
            while (token + 4 <= end) tile(Int<4>());
            if (end - token >= 2) tile(Int<2>());
            if (end - token == 1) tile(Int<1>());
        }
    }
}

}  // namespace
}  // namespace sterna::kernels
