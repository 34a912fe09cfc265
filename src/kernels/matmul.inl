// Matrix products of the quantized kinds. Two paths with the same sums and the same float steps, so with the same bits.
// One token: the packed words are unpacked in registers and multiplied at once (bound by memory). More: a panel's block
// is unpacked into scratch once and multiplied with tiles of tokens (bound by the multiplier).
namespace sterna::kernels {
namespace {

// A tile: tokens that share a load of weights, and panels that share a load of activations. Its sums stay in registers: AVX2
// has 4 x 2 for them. AVX-512's dozen hides the latency of vpdpbusd, and needs fewer loads than products (Zen 5, one core, of
// 508 Gmac/s: 8 tokens of one panel 444, 6 tokens of two 501).
#if defined(STERNA_ISA_AVX512)
constexpr int kTileTokens = 6, kTilePanels = 2;
#else
constexpr int kTileTokens = 4, kTilePanels = 1;
#endif
// Tokens between two passes over the weights: their activations stay in the second-level cache.
#if defined(STERNA_ISA_SCALAR)
constexpr int kGroupTokens = 1;
#elif defined(STERNA_ISA_AVX512)
constexpr int kGroupTokens = 132;
#else
constexpr int kGroupTokens = 64;
#endif

template <typename F>
constexpr int kSubs = F::kCols / F::kSub;
// Dots that one chain may take.
template <typename F>
constexpr int kLimit = chain_dots(F::kMaxWeight) < 1 ? 1 : chain_dots(F::kMaxWeight);

constexpr int min_int(int a, int b) {
    return a < b ? a : b;
}
constexpr int max_int(int a, int b) {
    return a > b ? a : b;
}
inline float as_float(int32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}

template <typename F, int Sub>
STERNA_INLINE Scale sub_scale(const B64* scales) {
    if constexpr (F::kSignedScales)
        return scale_s8<Sub % 4>(scales[Sub / 4]);
    else
        return scale_u8<Sub % 4>(scales[Sub / 4]);
}

// acc + (d * da) * isum, and what belongs to minima.
template <typename F>
STERNA_INLINE F32 add_block(F32 acc, F32 d, F32 m, float activation_scale, I32 isum, I32 msum, float sum) {
    const F32 da = splat(activation_scale);
    acc = acc + (d * da) * to_f32(isum);
    if constexpr (F::kMins) acc = acc - (m * da) * to_f32(msum);
    if constexpr (F::kAffine) acc = acc + (m * da) * splat(sum);
    return acc;
}

template <typename F>
STERNA_INLINE F32 second_half(const uint8_t* halves) {
    if constexpr (F::kMins || F::kAffine)
        return F::m(halves);
    else
        return zero_f32();
}

// Activations of a group of tokens, with the sums in the form that F wants.
struct Group {
    const int8_t* q;
    const float* scales;
    const int16_t* sums;
    int64_t n_cols, n_scales, n_sums;
};

// Calls f(Int<n>(), at) for tiles of n tokens or panels in [begin, end), in order: of T as far as it goes, then of less.
template <int T, typename Visit>
STERNA_INLINE void for_tiles(int64_t begin, int64_t end, Visit f) {
    for (; begin + T <= end; begin += T) f(Int<T>(), begin);
    if constexpr (T > 1) for_tiles<T / 2>(begin, end, f);
}

// How many of a panel's rows there are.
STERNA_INLINE int rows_of(const MatmulArgs& args, int64_t panel) {
    const int64_t left = args.n_rows - panel * kPanelRows;
    return left < kPanelRows ? int(left) : kPanelRows;
}

// ---- What the sums of the activations are for
// ----------------------------------------------------------------------------------------------------------------

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

// kZero: where a chain starts, per sub-block; kMins: two sums per pair of sub-blocks; kAffine: the block's sum as a
// float; kSigned: the sum per sub-block, for settle().
template <typename F>
constexpr int kExtra = F::kMins     ? kSubs<F> / 2
                       : F::kAffine ? 1
                                    : kSubs<F>;

// Weights in the middle of their range leave a smaller sum: a chain that starts at the zero point's share has to hold
// only that in the end, whatever it wraps around between.
template <typename F>
constexpr int kTileLimit = F::kZero == 0 ? kLimit<F> : chain_dots(max_int(F::kZero, F::kMaxWeight - F::kZero));

// Whether one token's chains start below zero too: those that do not go beyond a sub-block.
template <typename F>
constexpr bool kStartsBelow = F::kZero != 0 && F::kSub <= 32;

// Start: whether chains start below, from chain_start().
template <typename F, bool Start>
STERNA_INLINE void fill_extra(const int8_t* q, const int16_t* sums, int T, int32_t* to) {
    for (int i = 0; i < kExtra<F>; ++i) {
        if constexpr (F::kMins) {
            __builtin_memcpy(to + i * T, sums + 2 * i, 4);
        } else if constexpr (F::kAffine) {
            const float sum = float(sums[0]);
            __builtin_memcpy(to, &sum, 4);
        } else if constexpr (Start) {
            to[i * T] = chain_offset<F::kSub>(q + F::kSub * i, F::kZero, sums[i]);
        } else {
            to[i * T] = sums[i];
        }
    }
}

// ---- One token
// ---------------------------------------------------------------------------------------------------------------

// Panels that one token goes through side by side. The CPUs with AVX-512 keep more lines on their way than their prefetchers
// ask for: one stream, asked for from far ahead, is read a fifth faster than four (Zen 5, one core: 28 to 32 GB/s for 22).
#if defined(STERNA_ISA_AVX512)
template <typename F>
constexpr int kStreams = 1;
#else
template <typename F>
constexpr int kStreams = F::kStreams;
#endif

// Lines of weights are asked for ahead of their use. Panels side by side are as many streams, which the machine's own
// prefetchers follow: a little ahead in each. Of a stream alone, and where the arithmetic takes as long as memory does: those
// in the same place of the next panel, or of one at least kFarBytes on, and into the second level. One by one between the
// steps, because a burst fills the first level's miss buffers, and nothing else goes on.
template <typename F>
constexpr bool kNextPanel = kStreams<F> == 1;
constexpr int64_t kFarBytes = 8192;
template <typename F>
constexpr int64_t kAheadBytes = F::kCols == 256 ? 1088 : 512;

template <typename F>
constexpr int steps_before(int run) {
    int n = 0;
    for (int r = 0; r < run; ++r) n += steps_of<F>(r);
    return n;
}
// Lines that one step of a block asks for; the rest of the block's are asked for at its end.
template <typename F>
constexpr int kStepLines = F::kCols == 256 || kNextPanel<F> ? kWords<F> / steps_before<F>(F::kRuns) : 0;

template <typename F, int Run>
STERNA_INLINE void prefetch_step(const uint8_t* ahead, int i) {
    for (int line = 0; line < kStepLines<F>; ++line)
        prefetch_far(ahead + 64 * ((steps_before<F>(Run) + i) * kStepLines<F> + line));
}

template <typename F>
STERNA_INLINE void prefetch_rest(const uint8_t* ahead) {
    constexpr int first = kStepLines<F> * steps_before<F>(F::kRuns);
    for (int i = first; i < kWords<F>; ++i) {
        if constexpr (kNextPanel<F> || kStepLines<F> > 0)
            prefetch_far(ahead + 64 * i);
        else
            prefetch(ahead + 64 * i);
    }
}

// The activations of one token; extra as in PackedGroup.
struct PackedToken {
    const int8_t* q;
    const int32_t* extra;
    const float* scales;
};

template <typename F, int Run>
STERNA_INLINE I32 dot_run_signed(const uint8_t* words, const uint8_t* ahead, const int8_t* q, const int32_t* extra,
                                 const B64* scales) {
    constexpr int sub = F::column(Run, 0) / F::kSub;
    B64 w[F::kPlanes];
    SignedChain chain = signed_zero();
    Scale scale;
    if constexpr (F::kScaled)
        scale = sub_scale<F, sub>(scales);
    else
        scale = scale_one();
    for (int i = 0; i < F::kSteps; ++i) {
        prefetch_step<F, Run>(ahead, i);
        F::template step<Run>(words, i, w);
        unroll<F::kPlanes>([&](auto p) STERNA_LAMBDA {
            chain = signed_dot(chain, w[p], splat4(q + F::column(Run, p) + 4 * i), scale);
        });
    }
    if constexpr (F::kScaled)
        return settle(chain, extra[sub], scale);
    else
        return settle(chain, extra[sub]);
}

// Prefetch: false for all but the first pass over the words.
template <typename F, int Run, bool Prefetch>
STERNA_INLINE I32 dot_run(const uint8_t* words, const uint8_t* ahead, const int8_t* q, const int32_t* extra,
                          const B64* scales) {
    constexpr int n_steps = steps_of<F>(Run), n_planes = planes_of<F>(Run);
    constexpr int limit = kStartsBelow<F> ? kTileLimit<F> : kLimit<F>;
    B64 w[F::kPlanes];
    if constexpr (!F::kScaled && n_steps * n_planes <= limit) {
        Chain chain;
        if constexpr (kStartsBelow<F>)
            chain = chain_start(extra[0]);
        else
            chain = chain_zero();
        for (int i = 0; i < n_steps; ++i) {
            if constexpr (Prefetch) prefetch_step<F, Run>(ahead, i);
            F::template step<Run>(words, i, w);
            unroll<n_planes>(
                [&](auto p) STERNA_LAMBDA { chain = chain_dot(chain, w[p], splat4(q + F::column(Run, p) + 4 * i)); });
        }
        return widen(chain);
    } else {
        constexpr int piece = min_int(n_steps, limit);
        static_assert(n_steps % piece == 0 && (!kStartsBelow<F> || (n_steps == piece && F::kSub == 4 * piece)));
        I32 isum = zero_i32();
        for (int i = 0; i < n_steps;) {
            Chain chain[n_planes];
            unroll<n_planes>([&](auto p) STERNA_LAMBDA {
                if constexpr (kStartsBelow<F>)
                    chain[p] = chain_start(extra[F::column(Run, p) / F::kSub]);
                else
                    chain[p] = chain_zero();
            });
            for (int end = i + piece; i < end; ++i) {
                if constexpr (Prefetch) prefetch_step<F, Run>(ahead, i);
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

template <typename F, int Run>
STERNA_INLINE I32 sum_of_run(const uint8_t* words, const uint8_t* ahead, const int8_t* q, const int32_t* extra,
                             const B64* scales) {
    if constexpr (F::kSigned) {
        return dot_run_signed<F, Run>(words, ahead, q, extra, scales);
    } else if constexpr (F::kApart && kParts > 1) {
        // Pass by pass, of which the compiler keeps what join() takes: the sums of one part at a time fit the registers.
        I32 parts[kParts];
        unroll<kParts>([&](auto part) STERNA_LAMBDA {
            const uint8_t* again = words;
            __asm__("" : "+r"(again));  // else it would see that the passes are equal, and do all parts in one
            parts[part] = dot_run < F, Run, part == 0 > (again, ahead, q, extra, scales);
        });
        return join(parts);
    } else {
        return dot_run<F, Run, true>(words, ahead, q, extra, scales);
    }
}

// What is being added up of one panel.
struct PanelSums {
    B64 scales[4];
    I32 isum;
    F32 acc;
};

// N panels side by side.
template <typename F, int N>
STERNA_INLINE void multiply_panels(const MatmulArgs& args, int64_t panel, const PackedToken& x, float* out) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    const uint8_t* words = args.weights + panel * args.panel_bytes;
    const uint8_t* halves = words + halves_offset(F::kKind, n_blocks);
    [[maybe_unused]] const int64_t next_panel =
        (kFarBytes + args.panel_bytes - 1) / args.panel_bytes * args.panel_bytes;
    PanelSums sums[N];
    for (int p = 0; p < N; ++p) sums[p].acc = zero_f32();
    for (int64_t block = 0; block < n_blocks; ++block) {
        const int8_t* q = x.q + block * F::kCols;
        const int32_t* extra = x.extra + block * kExtra<F>;
        int64_t ahead;
        if constexpr (kNextPanel<F>) {
            ahead = next_panel;
            prefetch_far(halves + ahead);
        } else {
            // Past its end a panel is followed by the one that takes its place.
            ahead = kAheadBytes<F>;
            if (block * (64 * kWords<F>)+ahead >= args.panel_bytes) ahead += (N - 1) * args.panel_bytes;
        }
        for (int p = 0; p < N; ++p) {
            sums[p].isum = zero_i32();
            if constexpr (F::kScaled)
                F::scales(words + p * args.panel_bytes, halves + p * args.panel_bytes, sums[p].scales);
        }
        unroll<F::kRuns>([&](auto run) STERNA_LAMBDA {
            for (int p = 0; p < N; ++p) {
                const uint8_t* w = words + p * args.panel_bytes;
                if constexpr (F::kRuns == 1) prefetch_rest<F>(w + ahead);
                sums[p].isum = sums[p].isum + sum_of_run<F, run>(w, w + ahead, q, extra, sums[p].scales);
            }
        });
        for (int p = 0; p < N; ++p) {
            if constexpr (F::kRuns > 1) prefetch_rest<F>(words + p * args.panel_bytes + ahead);
            const uint8_t* h = halves + p * args.panel_bytes;
            I32 isum = sums[p].isum, msum = zero_i32();
            if constexpr (F::kZero != 0 && !kStartsBelow<F>) isum = isum - splat(int32_t(F::kZero * extra[0]));
            if constexpr (F::kMins) {
                B64 mins[4];
                F::mins(words + p * args.panel_bytes, mins);
                unroll<kSubs<F> / 2>([&](auto pair) STERNA_LAMBDA {
                    constexpr int first = 2 * pair % 4;
                    const B64 both = splat4(reinterpret_cast<const int8_t*>(extra + pair));
                    msum = msum + madd16(pairs_u8<first, first + 1>(mins[pair / 2]), both);
                });
            }
            sums[p].acc = add_block<F>(sums[p].acc, F::d(h), second_half<F>(h), x.scales[block], isum, msum,
                                       F::kAffine ? as_float(extra[0]) : 0.0f);
        }
        words += 64 * kWords<F>;
        halves += F::kHalfBytes;
    }
    for (int p = 0; p < N; ++p) {
        store_first(out + (panel + p) * kPanelRows, sums[p].acc, rows_of(args, panel + p));
    }
}

// scratch: kExtra<F> words per block.
template <typename F>
void matmul_one(const MatmulArgs& args, const Group& token, float* out, int32_t* scratch) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    for (int64_t block = 0; block < n_blocks; ++block)
        fill_extra<F, kStartsBelow<F>>(token.q + block * F::kCols, token.sums + block * kSubs<F>, 1,
                                       scratch + block * kExtra<F>);
    const PackedToken x = {token.q, scratch, token.scales};
    int64_t panel = args.panel_begin;
    for (; panel + kStreams<F> <= args.panel_end; panel += kStreams<F>)
        multiply_panels<F, kStreams<F>>(args, panel, x, out);
    if constexpr (kStreams<F> > 1)
        for (; panel < args.panel_end; ++panel) multiply_panels<F, 1>(args, panel, x, out);
}

#if !defined(STERNA_ISA_SCALAR)
// ---- Many tokens
// -------------------------------------------------------------------------------------------------------------

// A block of a panel, unpacked: weights by column, then the integer factors in the form that the tile loop wants.
template <typename F>
struct Unpacked {
    alignas(64) uint8_t weights[F::kCols * 16];
    alignas(64) uint8_t scales[F::kScaled ? kSubs<F> * 64 : 64];   // Scale per sub-block
    alignas(64) uint8_t pairs[F::kMins ? kSubs<F> / 2 * 64 : 64];  // the minima as int16 pairs
    alignas(64) float d[16];
    alignas(64) float m[16];
};
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
            if constexpr (F::kMins) store(to.pairs + 64 * pair, pairs_u8<first, first + 1>(mins[pair / 2]));
        });
    }
    store(to.d, F::d(halves));
    if constexpr (F::kMins || F::kAffine) store(to.m, F::m(halves));
}

// ---- Activations of a group, as the tiles read them
// ----------------------------------------------------------------------------------------------------------------
// Tokens lie a model's width apart in memory, a multiple of 4 KB or nearly so: read in place they fall on a few sets of
// the first-level cache and push one another out. Side by side they stream through it, from one pointer (128 tokens of
// 4096 columns, one core of Zen 3, with the chains of kTileLimit: Q4_0 79 -> 102 Gmac/s, Q5_0 65 -> 101, Q6_K 69 -> 107).
//   q       [tile][n_cols / 4][tokens of the tile][4]
//   extra   [tile][kExtra per block][tokens]: what the sums of the activations are for, see fill_extra
//   scales  [tile][block][tokens]
struct PackedGroup {
    int8_t* q;
    int32_t* extra;
    float* scales;
};

// Of one token: its part of PackedGroup, and of the sums of a panel.
template <typename F>
constexpr int64_t packed_bytes(int64_t n_cols) {
    return n_cols + n_cols / F::kCols * 4 * (kExtra<F> + 1) + 64 * kTilePanels;
}

using Words4 = uint32_t __attribute__((vector_size(16)));

// Four words of T tokens -> [word][token].
template <int T>
STERNA_INLINE void transpose_words(const int8_t* const (&rows)[T], int8_t* to) {
    constexpr int fours = T / 4 * 4, pairs = T / 2 * 2;
    const auto load = [&](int t) STERNA_LAMBDA {
        Words4 x;
        __builtin_memcpy(&x, rows[t], 16);
        return x;
    };
    for (int t = 0; t < fours; t += 4) {
        const Words4 x0 = load(t), x1 = load(t + 1), x2 = load(t + 2), x3 = load(t + 3);
        const Words4 a = __builtin_shufflevector(x0, x1, 0, 4, 1, 5), b = __builtin_shufflevector(x0, x1, 2, 6, 3, 7);
        const Words4 c = __builtin_shufflevector(x2, x3, 0, 4, 1, 5), d = __builtin_shufflevector(x2, x3, 2, 6, 3, 7);
        const Words4 out[4] = {__builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
                               __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
        for (int i = 0; i < 4; ++i) __builtin_memcpy(to + 4 * (T * i + t), &out[i], 16);
    }
    for (int t = fours; t < pairs; t += 2) {
        const Words4 a = load(t), b = load(t + 1);
        const Words4 out[2] = {__builtin_shufflevector(a, b, 0, 4, 1, 5), __builtin_shufflevector(a, b, 2, 6, 3, 7)};
        for (int i = 0; i < 4; ++i)
            __builtin_memcpy(to + 4 * (T * i + t), reinterpret_cast<const int8_t*>(&out[i / 2]) + 8 * (i % 2), 8);
    }
    for (int t = pairs; t < T; ++t)
        for (int i = 0; i < 4; ++i) __builtin_memcpy(to + 4 * (T * i + t), rows[t] + 4 * i, 4);
}

template <typename F, int T>
void pack_tile(const Group& group, int64_t token, const PackedGroup& to) {
    const int64_t n_blocks = group.n_cols / F::kCols;
    int8_t* q = to.q + token * group.n_cols;
    const int8_t* rows[T];
    for (int t = 0; t < T; ++t) rows[t] = group.q + (token + t) * group.n_cols;
    for (int64_t col = 0; col < group.n_cols; col += 16, q += 16 * T) {
        transpose_words<T>(rows, q);
        for (int t = 0; t < T; ++t) rows[t] += 16;
    }
    int32_t* extra = to.extra + token * n_blocks * kExtra<F>;
    float* scales = to.scales + token * n_blocks;
    for (int t = 0; t < T; ++t) {
        const int8_t* values = group.q + (token + t) * group.n_cols;
        const int16_t* sums = group.sums + (token + t) * group.n_sums;
        for (int64_t block = 0; block < n_blocks; ++block) {
            fill_extra<F, F::kZero != 0>(values + block * F::kCols, sums + block * kSubs<F>, T,
                                         extra + block * kExtra<F> * T + t);
            scales[block * T + t] = group.scales[(token + t) * group.n_scales + block];
        }
    }
}

// Unpacked blocks that one pass over the tokens shares: 256 columns.
template <typename F>
constexpr int kChunkBlocks = 256 / F::kCols;

// isum[p * T + t] += the sub-block's sum for panel p and token t. Panels lie kChunkBlocks apart.
template <typename F, int P, int T>
STERNA_INLINE void tile_sub(const Unpacked<F>* block, const int8_t* q, const int32_t* extra, int sub,
                            I32 (&isum)[P * T]) {
    constexpr int n_dots = F::kSub / 4;
    q += F::kSub * T * sub;
    const auto weights = [&](int p, int i) STERNA_LAMBDA {
        return load_b64(block[p * kChunkBlocks<F>].weights + 16 * F::kSub * sub + 64 * i);
    };
    const auto scale_of = [&](int p) STERNA_LAMBDA { return load_scale(block[p * kChunkBlocks<F>].scales + 64 * sub); };
    if constexpr (F::kSigned) {
        SignedChain chain[P * T];
        unroll<P * T>([&](auto k) STERNA_LAMBDA { chain[k] = signed_zero(); });
        Scale scale[P];
        unroll<P>([&](auto p) STERNA_LAMBDA {
            if constexpr (F::kScaled)
                scale[p] = scale_of(p);
            else
                scale[p] = scale_one();
        });
        unroll<n_dots>([&](auto i) STERNA_LAMBDA {
            B64 w[P];
            unroll<P>([&](auto p) STERNA_LAMBDA { w[p] = weights(p, i); });
            unroll<T>([&](auto t) STERNA_LAMBDA {
                const B64 x = splat4(q + 4 * (T * i + t));
                unroll<P>([&](auto p)
                              STERNA_LAMBDA { chain[p * T + t] = signed_dot(chain[p * T + t], w[p], x, scale[p]); });
            });
        });
        unroll<P * T>([&](auto k) STERNA_LAMBDA {
            if constexpr (F::kScaled)
                isum[k] = isum[k] + settle(chain[k], extra[T * sub + k % T], scale[k / T]);
            else
                isum[k] = settle(chain[k], extra[T * sub + k % T]);
        });
    } else {
        constexpr int piece = min_int(n_dots, kTileLimit<F>);
        constexpr int step = min_int(4, piece);
        static_assert(n_dots % piece == 0 && piece % step == 0 && (F::kZero == 0 || n_dots == piece));
        // Unrolled, sums of two pieces meet in registers (Zen 3: Q5_1 63 -> 75 Gmac/s).
        unroll<n_dots / piece>([&](auto part) STERNA_LAMBDA {
            constexpr int first = piece * part;
            Chain chain[P * T];
            unroll<P * T>([&](auto k) STERNA_LAMBDA {
                if constexpr (F::kZero != 0)
                    chain[k] = chain_start(extra[T * sub + k % T]);
                else
                    chain[k] = chain_zero();
            });
            for (int i = first; i < first + piece; i += step) {
                unroll<step>([&](auto j) STERNA_LAMBDA {
                    B64 w[P];
                    unroll<P>([&](auto p) STERNA_LAMBDA { w[p] = weights(p, i + j); });
                    unroll<T>([&](auto t) STERNA_LAMBDA {
                        const B64 x = splat4(q + 4 * (T * (i + j) + t));
                        unroll<P>([&](auto p)
                                      STERNA_LAMBDA { chain[p * T + t] = chain_dot(chain[p * T + t], w[p], x); });
                    });
                });
            }
            if constexpr (F::kScaled) {
                unroll<P>([&](auto p) STERNA_LAMBDA {
                    const Scale scale = scale_of(p);
                    unroll<T>([&](auto t) STERNA_LAMBDA {
                        isum[p * T + t] = isum[p * T + t] + widen(chain[p * T + t], scale);
                    });
                });
            } else if constexpr (piece == n_dots) {
                unroll<P * T>([&](auto k) STERNA_LAMBDA { isum[k] = widen(chain[k]); });
            } else {
                unroll<P * T>([&](auto k) STERNA_LAMBDA { isum[k] = isum[k] + widen(chain[k]); });
            }
        });
    }
}

// Some blocks of P panels for a tile of T tokens; acc is [T][16] per panel, panels acc_stride apart.
// Not inlined: alone in a function, its sums stay in registers.
template <typename F, int P, int T>
__attribute__((noinline)) void tile_chunk(const Unpacked<F>* blocks, int n_blocks, const int8_t* q,
                                          const int32_t* extra, const float* scales, float* acc, int64_t acc_stride) {
    for (const Unpacked<F>* block = blocks; block < blocks + n_blocks; ++block) {
        I32 isum[P * T], msum[P * T];
        unroll<P * T>([&](auto k) STERNA_LAMBDA { isum[k] = zero_i32(), msum[k] = zero_i32(); });
        for (int sub = 0; sub < kSubs<F>; ++sub) tile_sub<F, P, T>(block, q, extra, sub, isum);
        if constexpr (F::kMins) {
            for (int pair = 0; pair < kSubs<F> / 2; ++pair) {
                B64 factors[P];
                unroll<P>([&](auto p)
                              STERNA_LAMBDA { factors[p] = load_b64(block[p * kChunkBlocks<F>].pairs + 64 * pair); });
                unroll<T>([&](auto t) STERNA_LAMBDA {
                    const B64 sums = splat4(reinterpret_cast<const int8_t*>(extra + pair * T + t));
                    unroll<P>([&](auto p)
                                  STERNA_LAMBDA { msum[p * T + t] = msum[p * T + t] + madd16(factors[p], sums); });
                });
            }
        }
        unroll<P>([&](auto p) STERNA_LAMBDA {
            const Unpacked<F>& own = block[p * kChunkBlocks<F>];
            float* const sums = acc + p * acc_stride;
            const F32 d = load_f32(own.d);
            F32 m = zero_f32();
            if constexpr (F::kMins || F::kAffine) m = load_f32(own.m);
            unroll<T>([&](auto t) STERNA_LAMBDA {
                const F32 sum = add_block<F>(load_f32(sums + 16 * t), d, m, scales[t], isum[p * T + t], msum[p * T + t],
                                             F::kAffine ? as_float(extra[t]) : 0.0f);
                store(sums + 16 * t, sum);
            });
        });
        q += F::kCols * T;
        extra += kExtra<F> * T;
        scales += T;
    }
}

template <typename F>
constexpr int64_t kTileScratchBytes = sizeof(Unpacked<F>) * kChunkBlocks<F> * kTilePanels;

// P panels for a group of tokens. acc: [P][n_tokens][16].
template <typename F, int P>
void group_panels(const MatmulArgs& args, int64_t panel, const PackedGroup& x, int64_t n_tokens, Unpacked<F>* blocks,
                  float* acc, float* out) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    const uint8_t* words = args.weights + panel * args.panel_bytes;
    const uint8_t* halves = words + halves_offset(F::kKind, n_blocks);
    __builtin_memset(acc, 0, size_t(P * n_tokens) * 64);
    for (int64_t first = 0; first < n_blocks; first += kChunkBlocks<F>) {
        const int n = n_blocks - first < kChunkBlocks<F> ? int(n_blocks - first) : kChunkBlocks<F>;
        // The next chunk is asked for, after the last one that of the next panels: the tiles give it time to come.
        const int64_t next = first + n < n_blocks ? first + n : 0, jump = next == 0 ? P * args.panel_bytes : 0;
        for (int p = 0; p < P; ++p) {
            const uint8_t* own_words = words + p * args.panel_bytes;
            const uint8_t* own_halves = halves + p * args.panel_bytes;
            for (int i = 0; i < F::kHalfBytes * n; i += 64) prefetch(own_halves + jump + next * F::kHalfBytes + i);
            for (int b = 0; b < n; ++b) {
                for (int i = 0; i < kWords<F>; ++i) prefetch(own_words + jump + (next + b) * (64 * kWords<F>)+64 * i);
                unpack<F>(own_words + (first + b) * (64 * kWords<F>), own_halves + (first + b) * F::kHalfBytes,
                          blocks[p * kChunkBlocks<F> + b]);
            }
        }
        for_tiles<kTileTokens>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA {
            tile_chunk<F, P, T>(blocks, n, x.q + token * args.n_cols + first * F::kCols * T,
                                x.extra + (token * n_blocks + first * T) * kExtra<F>,
                                x.scales + token * n_blocks + first * T, acc + 16 * token, 16 * n_tokens);
        });
    }
    for (int p = 0; p < P; ++p) {
        const int64_t row = (panel + p) * kPanelRows;
        const int valid = rows_of(args, panel + p);
        for (int64_t t = 0; t < n_tokens; ++t)
            store_first(out + t * args.out_stride + row, load_f32(acc + 16 * (p * n_tokens + t)), valid);
    }
}

// scratch: kTileScratchBytes, and packed_bytes() per token.
template <typename F>
void matmul_group(const MatmulArgs& args, const Group& group, int64_t n_tokens, float* out, uint8_t* scratch) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    auto* blocks = reinterpret_cast<Unpacked<F>*>(scratch);
    scratch += kTileScratchBytes<F>;
    float* acc = reinterpret_cast<float*>(scratch);  // [kTilePanels][n_tokens][16]
    scratch += kTilePanels * n_tokens * 64;
    PackedGroup x;
    x.q = reinterpret_cast<int8_t*>(scratch);
    x.extra = reinterpret_cast<int32_t*>(x.q + n_tokens * args.n_cols);
    x.scales = reinterpret_cast<float*>(x.extra + n_tokens * n_blocks * kExtra<F>);
    for_tiles<kTileTokens>(0, n_tokens, [&](auto T, int64_t token) STERNA_LAMBDA { pack_tile<F, T>(group, token, x); });
    for_tiles<kTilePanels>(args.panel_begin, args.panel_end, [&](auto P, int64_t panel) STERNA_LAMBDA {
        group_panels<F, P>(args, panel, x, n_tokens, blocks, acc, out);
    });
}

#endif  // the scalar build takes tokens one by one: it has no registers to share weights in

template <typename F>
void matmul(const MatmulArgs& args) {
    constexpr bool regroup = F::kCols == 256 && F::kSub != 16;
    static_assert(kMaxCols / F::kCols * (kExtra<F> * 4 + (regroup ? kSubs<F> * 2 : 0)) <= kMatmulScratchBytes);
    Group group = {args.x.q, args.x.scales, args.x.sums, args.n_cols, args.x.n_scales, args.x.n_sums};
    int64_t group_tokens = kGroupTokens;
    auto* sums = reinterpret_cast<int16_t*>(args.scratch);
    [[maybe_unused]] uint8_t* rest = args.scratch;
    if (regroup) {
        group.n_sums = args.n_cols / F::kSub;
        group.sums = sums;
    }
    const int64_t sum_bytes = regroup ? (group.n_sums * 2 + 3) / 4 * 4 : 0;
#if !defined(STERNA_ISA_SCALAR)
    const int64_t room = kMatmulScratchBytes - kTileScratchBytes<F> - 64;
    while (group_tokens > 1 && group_tokens * (sum_bytes + packed_bytes<F>(args.n_cols)) > room) group_tokens /= 2;
    rest += (group_tokens * sum_bytes + 63) / 64 * 64;
#endif
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
        if (n == 1) matmul_one<F>(args, group, out, reinterpret_cast<int32_t*>(args.scratch + sum_bytes));
#if !defined(STERNA_ISA_SCALAR)
        else
            matmul_group<F>(args, group, n, out, rest);
#endif
    }
}

}  // namespace
}  // namespace sterna::kernels
