// Matrix products of the quantized kinds. Two paths with the same sums and the same float steps, so with the same bits.
// One token: the packed words are unpacked in registers and multiplied at once (bound by memory). More: a panel's block
// is unpacked into scratch once and multiplied with tiles of tokens (bound by the multiplier).
namespace sterna::kernels {
namespace {

// Tokens that share a load of weights. AVX2: 4 x 2 registers of sums; AVX-512: 8 of its 32, enough to hide the latency
// of vpdpbusd.
#if defined(STERNA_ISA_AVX512)
constexpr int kTileTokens = 8;
#else
constexpr int kTileTokens = 4;
#endif
#if defined(STERNA_ISA_SCALAR)
constexpr int kGroupTokens = 1;
#else
constexpr int kGroupTokens =
    64;  // tokens between two passes over the weights: their activations stay in the second-level cache
#endif
constexpr int64_t kPrefetchBytes = 1536;

template <typename F>
constexpr int kSubs = F::kCols / F::kSub;
// Dots that one chain may take.
template <typename F>
constexpr int kLimit = chain_dots(F::kMaxWeight) < 1 ? 1 : chain_dots(F::kMaxWeight);

constexpr int min_int(int a, int b) {
    return a < b ? a : b;
}

template <typename F, int Sub>
STERNA_INLINE Scale sub_scale(const B64* scales) {
    if constexpr (F::kSignedScales)
        return scale_s8<Sub % 4>(scales[Sub / 4]);
    else
        return scale_u8<Sub % 4>(scales[Sub / 4]);
}

// sum over sub-blocks of factor[sub] * sums[sub]; factors are int8 or uint8, four sub-blocks per vector.
template <int Subs, bool Signed>
STERNA_INLINE I32 weighted_sums(const B64* factors, const int16_t* sums) {
    I32 total = zero_i32();
    unroll<Subs / 2>([&](auto pair) STERNA_LAMBDA {
        constexpr int first = 2 * pair % 4;
        const B64 x = factors[pair / 2];
        const B64 both = splat4(reinterpret_cast<const int8_t*>(sums + 2 * pair));
        if constexpr (Signed)
            total = total + madd16(pairs_s8<first, first + 1>(x), both);
        else
            total = total + madd16(pairs_u8<first, first + 1>(x), both);
    });
    return total;
}

// acc + (d * da) * isum, and what belongs to minima.
template <typename F>
STERNA_INLINE F32 add_block(F32 acc, F32 d, F32 m, float activation_scale, I32 isum, I32 msum, int32_t sum) {
    const F32 da = splat(activation_scale);
    acc = acc + (d * da) * to_f32(isum);
    if constexpr (F::kMins) acc = acc - (m * da) * to_f32(msum);
    if constexpr (F::kAffine) acc = acc + (m * da) * splat(float(sum));
    return acc;
}

template <typename F>
STERNA_INLINE F32 second_half(const uint8_t* halves) {
    if constexpr (F::kMins || F::kAffine)
        return F::m(halves);
    else
        return zero_f32();
}

// ---- One token
// ---------------------------------------------------------------------------------------------------------------

template <typename F, int Run>
STERNA_INLINE I32 dot_run_signed(const uint8_t* words, const int8_t* q, const int16_t* sums, const B64* scales) {
    constexpr int sub = F::column(Run, 0) / F::kSub;
    B64 w[F::kPlanes];
    SignedChain chain = signed_zero();
    if constexpr (F::kScaled) {
        const Scale scale = sub_scale<F, sub>(scales);
        for (int i = 0; i < F::kSteps; ++i) {
            F::template step<Run>(words, i, w);
            unroll<F::kPlanes>([&](auto p) STERNA_LAMBDA {
                chain = signed_dot(chain, w[p], splat4(q + F::column(Run, p) + 4 * i), scale);
            });
        }
        return settle(chain, sums[sub], scale);
    } else {
        for (int i = 0; i < F::kSteps; ++i) {
            F::template step<Run>(words, i, w);
            unroll<F::kPlanes>([&](auto p) STERNA_LAMBDA {
                chain = signed_dot(chain, w[p], splat4(q + F::column(Run, p) + 4 * i), scale_one());
            });
        }
        return settle(chain, sums[sub]);
    }
}

template <typename F, int Run>
STERNA_INLINE I32 dot_run(const uint8_t* words, const int8_t* q, const B64* scales) {
    constexpr int n_steps = steps_of<F>(Run), n_planes = planes_of<F>(Run);
    B64 w[F::kPlanes];
    I32 isum = zero_i32();
    if constexpr (!F::kScaled && n_steps * n_planes <= kLimit<F>) {
        Chain chain = chain_zero();
        for (int i = 0; i < n_steps; ++i) {
            F::template step<Run>(words, i, w);
            unroll<n_planes>(
                [&](auto p) STERNA_LAMBDA { chain = chain_dot(chain, w[p], splat4(q + F::column(Run, p) + 4 * i)); });
        }
        return widen(chain);
    } else {
        constexpr int piece = min_int(n_steps, kLimit<F>);
        static_assert(n_steps % piece == 0);
        for (int i = 0; i < n_steps;) {
            Chain chain[n_planes];
            unroll<n_planes>([&](auto p) STERNA_LAMBDA { chain[p] = chain_zero(); });
            for (int end = i + piece; i < end; ++i) {
                F::template step<Run>(words, i, w);
                unroll<n_planes>([&](auto p) STERNA_LAMBDA {
                    chain[p] = chain_dot(chain[p], w[p], splat4(q + F::column(Run, p) + 4 * i));
                });
            }
            unroll<n_planes>([&](auto p) STERNA_LAMBDA {
                if constexpr (F::kScaled)
                    isum = isum + widen(chain[p], sub_scale<F, F::column(Run, p) / F::kSub>(scales));
                else
                    isum = isum + widen(chain[p]);
            });
        }
        return isum;
    }
}

template <typename F>
STERNA_INLINE F32 dot_block(F32 acc, const uint8_t* words, const uint8_t* halves, const int8_t* q, const int16_t* sums,
                            float activation_scale) {
    B64 scales[4], mins[4];
    if constexpr (F::kScaled) F::scales(words, halves, scales);
    I32 isum = zero_i32(), msum = zero_i32();
    unroll<F::kRuns>([&](auto run) STERNA_LAMBDA {
        if constexpr (F::kSigned)
            isum = isum + dot_run_signed<F, run>(words, q, sums, scales);
        else
            isum = isum + dot_run<F, run>(words, q, scales);
    });
    if constexpr (F::kZero != 0) {
        if constexpr (F::kScaled)
            isum = isum - weighted_sums<kSubs<F>, F::kSignedScales>(scales, sums) * splat(int32_t(F::kZero));
        else
            isum = isum - splat(int32_t(F::kZero * sums[0]));
    }
    if constexpr (F::kMins) {
        F::mins(words, mins);
        msum = weighted_sums<kSubs<F>, false>(mins, sums);
    }
    return add_block<F>(acc, F::d(halves), second_half<F>(halves), activation_scale, isum, msum, sums[0]);
}

template <typename F>
void matmul_one(const MatmulArgs& args, const int8_t* q, const float* scales, const int16_t* sums, float* out) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
        const uint8_t* words = args.weights + panel * args.panel_bytes;
        const uint8_t* halves = words + halves_offset(F::kKind, n_blocks);
        F32 acc = zero_f32();
        for (int64_t block = 0; block < n_blocks; ++block) {
            const uint8_t* w = words + block * (64 * kWords<F>);
            for (int i = 0; i < kWords<F>; ++i) prefetch(w + kPrefetchBytes + 64 * i);
            acc = dot_block<F>(acc, w, halves + block * F::kHalfBytes, q + block * F::kCols, sums + block * kSubs<F>,
                               scales[block]);
        }
        const int64_t row = panel * kPanelRows, left = args.n_rows - row;
        store_first(out + row, acc, left < kPanelRows ? int(left) : kPanelRows);
    }
}

// Activations of a group of tokens, with the sums in the form that F wants.
struct Group {
    const int8_t* q;
    const float* scales;
    const int16_t* sums;
    int64_t n_cols, n_scales, n_sums;
};

#if !defined(STERNA_ISA_SCALAR)
// ---- Many tokens
// -------------------------------------------------------------------------------------------------------------

// A block of a panel, unpacked: weights by column, then the integer factors in the form that the tile loop wants.
template <typename F>
struct Unpacked {
    alignas(64) uint8_t weights[F::kCols * 16];
    alignas(64) uint8_t scales[F::kScaled ? kSubs<F> * 64 : 64];  // Scale per sub-block
    alignas(
        64) uint8_t pairs[F::kScaled ? kSubs<F> / 2 * 64 : 64];  // int16 pairs: the scales (zero points) or the minima
    alignas(64) float d[16];
    alignas(64) float m[16];
};
template <typename F>
constexpr bool kHasPairs = F::kMins || (F::kScaled && F::kZero != 0);

template <typename F>
void unpack(const uint8_t* words, const uint8_t* halves, Unpacked<F>& to) {
    unroll<F::kRuns>([&](auto run) STERNA_LAMBDA {
        for (int i = 0; i < steps_of<F>(run); ++i) {
            B64 w[F::kPlanes];
            F::template step<run>(words, i, w);
            unroll<planes_of<F>(run)>([&](auto p)
                                          STERNA_LAMBDA { store(to.weights + 16 * F::column(run, p) + 64 * i, w[p]); });
        }
    });
    if constexpr (F::kScaled) {
        B64 scales[4], mins[4];
        F::scales(words, halves, scales);
        unroll<kSubs<F>>([&](auto s) STERNA_LAMBDA { store_scale(to.scales + 64 * s, sub_scale<F, s>(scales)); });
        if constexpr (F::kMins) F::mins(words, mins);
        unroll<kSubs<F> / 2>([&](auto pair) STERNA_LAMBDA {
            constexpr int first = 2 * pair % 4;
            if constexpr (F::kMins)
                store(to.pairs + 64 * pair, pairs_u8<first, first + 1>(mins[pair / 2]));
            else if constexpr (kHasPairs<F>)
                store(to.pairs + 64 * pair, pairs_s8<first, first + 1>(scales[pair / 2]));
        });
    }
    store(to.d, F::d(halves));
    if constexpr (F::kMins || F::kAffine) store(to.m, F::m(halves));
}

template <int T>
struct Tile {
    const int8_t* q[T];
    const int16_t* sums[T];
    float scale[T];
};

// isum[t] += the sub-block's sum for each token.
template <typename F, int T>
STERNA_INLINE void tile_sub(const Unpacked<F>& block, const Tile<T>& x, int sub, I32 (&isum)[T]) {
    constexpr int n_dots = F::kSub / 4;
    const uint8_t* weights = block.weights + 16 * F::kSub * sub;
    const int column = F::kSub * sub;
    if constexpr (F::kSigned) {
        SignedChain chain[T];
        unroll<T>([&](auto t) STERNA_LAMBDA { chain[t] = signed_zero(); });
        Scale scale;
        if constexpr (F::kScaled)
            scale = load_scale(block.scales + 64 * sub);
        else
            scale = scale_one();
        for (int i = 0; i < n_dots; ++i) {
            const B64 w = load_b64(weights + 64 * i);
            unroll<T>([&](auto t) STERNA_LAMBDA {
                chain[t] = signed_dot(chain[t], w, splat4(x.q[t] + column + 4 * i), scale);
            });
        }
        unroll<T>([&](auto t) STERNA_LAMBDA {
            if constexpr (F::kScaled)
                isum[t] = isum[t] + settle(chain[t], x.sums[t][sub], scale);
            else
                isum[t] = isum[t] + settle(chain[t], x.sums[t][sub]);
        });
    } else {
        constexpr int piece = min_int(min_int(n_dots, kLimit<F>), 32);
        constexpr int fitting = n_dots % piece == 0 ? piece : 4;
        for (int k = 0; k < n_dots / fitting; ++k) {
            Chain chain[T];
            unroll<T>([&](auto t) STERNA_LAMBDA { chain[t] = chain_zero(); });
            constexpr int step = min_int(4, fitting);
            for (int i = k * fitting; i < (k + 1) * fitting; i += step) {
                unroll<step>([&](auto j) STERNA_LAMBDA {
                    const B64 w = load_b64(weights + 64 * (i + j));
                    unroll<T>([&](auto t) STERNA_LAMBDA {
                        chain[t] = chain_dot(chain[t], w, splat4(x.q[t] + column + 4 * (i + j)));
                    });
                });
            }
            if constexpr (F::kScaled) {
                const Scale scale = load_scale(block.scales + 64 * sub);
                unroll<T>([&](auto t) STERNA_LAMBDA { isum[t] = isum[t] + widen(chain[t], scale); });
            } else {
                unroll<T>([&](auto t) STERNA_LAMBDA { isum[t] = isum[t] + widen(chain[t]); });
            }
        }
    }
}

// One block of one panel for T tokens; acc is [T][16].
// Not inlined: alone in a function, its sums stay in registers.
template <typename F, int T>
__attribute__((noinline)) void tile_block(const Unpacked<F>& block, const Tile<T>& x, float* acc) {
    I32 isum[T], msum[T];
    unroll<T>([&](auto t) STERNA_LAMBDA { isum[t] = zero_i32(), msum[t] = zero_i32(); });
    for (int sub = 0; sub < kSubs<F>; ++sub) tile_sub<F, T>(block, x, sub, isum);
    if constexpr (kHasPairs<F>) {
        for (int pair = 0; pair < kSubs<F> / 2; ++pair) {
            const B64 factors = load_b64(block.pairs + 64 * pair);
            unroll<T>([&](auto t) STERNA_LAMBDA {
                msum[t] = msum[t] + madd16(factors, splat4(reinterpret_cast<const int8_t*>(x.sums[t] + 2 * pair)));
            });
        }
    }
    const F32 d = load_f32(block.d);
    F32 m = zero_f32();
    if constexpr (F::kMins || F::kAffine) m = load_f32(block.m);
    unroll<T>([&](auto t) STERNA_LAMBDA {
        I32 sum = isum[t];
        if constexpr (F::kScaled && F::kZero != 0) sum = sum - msum[t] * splat(int32_t(F::kZero));
        if constexpr (!F::kScaled && F::kZero != 0) sum = sum - splat(int32_t(F::kZero * x.sums[t][0]));
        store(acc + 16 * t, add_block<F>(load_f32(acc + 16 * t), d, m, x.scale[t], sum, msum[t], x.sums[t][0]));
    });
}

// Unpacked blocks that one pass over the tokens shares: 256 columns.
template <typename F>
constexpr int kChunkBlocks = 256 / F::kCols;

template <typename F, int T>
void tile_chunk(const Unpacked<F>* blocks, int n_blocks, const Group& group, int64_t first_block, int64_t token,
                float* acc) {
    for (int b = 0; b < n_blocks; ++b) {
        Tile<T> x;
        const int64_t block = first_block + b;
        for (int t = 0; t < T; ++t) {
            x.q[t] = group.q + (token + t) * group.n_cols + block * F::kCols;
            x.sums[t] = group.sums + (token + t) * group.n_sums + block * kSubs<F>;
            x.scale[t] = group.scales[(token + t) * group.n_scales + block];
        }
        tile_block<F, T>(blocks[b], x, acc);
    }
}

template <typename F>
void matmul_group(const MatmulArgs& args, const Group& group, int64_t n_tokens, float* out, uint8_t* scratch) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    auto* blocks = reinterpret_cast<Unpacked<F>*>(scratch);
    float* acc = reinterpret_cast<float*>(scratch + sizeof(Unpacked<F>) * kChunkBlocks<F>);  // [n_tokens][16]
    for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
        const uint8_t* words = args.weights + panel * args.panel_bytes;
        const uint8_t* halves = words + halves_offset(F::kKind, n_blocks);
        __builtin_memset(acc, 0, size_t(n_tokens) * 64);
        for (int64_t first = 0; first < n_blocks; first += kChunkBlocks<F>) {
            const int n = n_blocks - first < kChunkBlocks<F> ? int(n_blocks - first) : kChunkBlocks<F>;
            for (int b = 0; b < n; ++b) {
                const uint8_t* w = words + (first + b) * (64 * kWords<F>);
                for (int i = 0; i < kWords<F>; ++i) prefetch(w + kPrefetchBytes + 64 * i);
                unpack<F>(w, halves + (first + b) * F::kHalfBytes, blocks[b]);
            }
            int64_t token = 0;
            for (; token + kTileTokens <= n_tokens; token += kTileTokens)
                tile_chunk<F, kTileTokens>(blocks, n, group, first, token, acc + 16 * token);
            if constexpr (kTileTokens > 4) {
                if (n_tokens - token >= 4)
                    tile_chunk<F, 4>(blocks, n, group, first, token, acc + 16 * token), token += 4;
            }
            if (n_tokens - token >= 2) tile_chunk<F, 2>(blocks, n, group, first, token, acc + 16 * token), token += 2;
            if (n_tokens - token == 1) tile_chunk<F, 1>(blocks, n, group, first, token, acc + 16 * token);
        }
        const int64_t row = panel * kPanelRows, left = args.n_rows - row;
        const int valid = left < kPanelRows ? int(left) : kPanelRows;
        for (int64_t t = 0; t < n_tokens; ++t)
            store_first(out + t * args.out_stride + row, load_f32(acc + 16 * t), valid);
    }
}

#endif  // the scalar build takes tokens one by one: it has no registers to share weights in

// The sums over F's sub-blocks from those over 16 columns. Fits int16: 256 * 127.
template <typename F>
void regroup_sums(const int16_t* from, int64_t n, int16_t* to) {
    constexpr int width = F::kSub / 16;
    for (int64_t i = 0; i < n / width; ++i) {
        int sum = 0;
        for (int j = 0; j < width; ++j) sum += from[i * width + j];
        to[i] = int16_t(sum);
    }
}

template <typename F>
void matmul(const MatmulArgs& args) {
    constexpr bool regroup = F::kCols == 256 && F::kSub != 16;
    constexpr int64_t kSumBytes = kMatmulScratchBytes / 2;
    Group group = {args.x.q, args.x.scales, args.x.sums, args.n_cols, args.x.n_scales, args.x.n_sums};
    int64_t group_tokens = kGroupTokens;
    auto* sums = reinterpret_cast<int16_t*>(args.scratch);
    [[maybe_unused]] uint8_t* rest = args.scratch + kSumBytes;
    if (regroup) {
        group.n_sums = args.n_cols / F::kSub;
        group.sums = sums;
        while (group_tokens > 1 && group_tokens * group.n_sums * 2 > kSumBytes) group_tokens /= 2;
    }
    for (int64_t token = 0; token < args.n_tokens; token += group_tokens) {
        const int64_t n = args.n_tokens - token < group_tokens ? args.n_tokens - token : group_tokens;
        group.q = args.x.q + token * args.n_cols;
        group.scales = args.x.scales + token * args.x.n_scales;
        if constexpr (regroup) {
            for (int64_t t = 0; t < n; ++t)
                regroup_sums<F>(args.x.sums + (token + t) * args.x.n_sums, args.n_cols / 16, sums + t * group.n_sums);
        } else {
            group.sums = args.x.sums + token * args.x.n_sums;
        }
        float* out = args.out + token * args.out_stride;
        if (n == 1) matmul_one<F>(args, group.q, group.scales, group.sums, out);
#if !defined(STERNA_ISA_SCALAR)
        else
            matmul_group<F>(args, group, n, out, rest);
#endif
    }
}

}  // namespace
}  // namespace sterna::kernels
