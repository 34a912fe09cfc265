// How each quantized kind's words become bytes that can be multiplied: one struct per kind. See layout.h for where the
// words come from.
// clang-format off
//   kCols          columns of a block; kKind leads to the rest (layout.h)
//   kRuns, kSteps, kPlanes: step<run>(words, i, w) yields kPlanes vectors of 4 columns, from column(run, plane) + 4 i on
//   kSub           columns that share an integer scale (kCols when there is none)
//   kMaxWeight     weights are 0..kMaxWeight (u7), or kSigned: any s8
//   kZero          what an unsigned weight is too large by; taken out with the sums of the activations
//   kScaled        scales(words, halves, s) yields the integer scales, four sub-blocks per vector; kSignedScales: as s8
//   kMins          mins(words, m) too: value = (d scale) q - (dmin min)
//   kAffine        a second half m: value = d q + m
//   kStreams       panels that one token goes through side by side
//   kApart         one token takes the parts of a vector (vec.h) one by one: many planes' sums at once need registers
// clang-format on
namespace sterna::kernels {
namespace {

template <int N>
struct Int {
    static constexpr int value = N;
    constexpr operator int() const { return N; }
};

// f(Int<0>), ..., f(Int<N - 1>)
template <int N, int I = 0, typename F>
STERNA_INLINE void unroll(F&& f) {
    if constexpr (I < N) {
        f(Int<I>());
        unroll<N, I + 1>(f);
    }
}

struct Unscaled {
    static constexpr bool kScaled = false, kSignedScales = false, kMins = false, kApart = false;
};

// The 32-wide kinds and the ternary ones have one scale, a half.
template <int Halves>
struct HalfScale {
    static constexpr int kHalves = Halves, kHalfBytes = 32 * Halves;
    static STERNA_INLINE F32 d(const uint8_t* halves) { return load_f16(reinterpret_cast<const uint16_t*>(halves)); }
    static STERNA_INLINE F32 m(const uint8_t* halves) {
        return load_f16(reinterpret_cast<const uint16_t*>(halves + 32));
    }
};

STERNA_INLINE B64 word(const uint8_t* words, int i) {
    return load_b64(words + 64 * i);
}
STERNA_INLINE B64 low_nibbles(B64 x) {
    return x & splat_u8(15);
}
STERNA_INLINE B64 high_nibbles(B64 x) {
    return shr16<4>(x) & splat_u8(15);
}
// Shifts left by N, or right by -N.
template <int N>
STERNA_INLINE B64 move16(B64 x) {
    if constexpr (N > 0)
        return shl16<N>(x);
    else if constexpr (N < 0)
        return shr16<-N>(x);
    else
        return x;
}

// ---- 32 columns
// ------------------------------------------------------------------------------------------------------------

struct Simple : Unscaled {
    static constexpr int kCols = 32, kSub = 32, kRuns = 1, kSteps = 4, kPlanes = 2, kStreams = kPanelsTogether;
    static constexpr bool kSigned = false, kAffine = false;
    static constexpr int column(int, int plane) { return 16 * plane; }
};

struct FormatQ8_0 : Unscaled, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kQ8_0;
    static constexpr int kCols = 32, kSub = 32, kRuns = 1, kSteps = 8, kPlanes = 1, kMaxWeight = 128, kZero = 0,
                         kStreams = kPanelsTogether;
    static constexpr bool kSigned = true, kAffine = false;
    static constexpr int column(int, int) { return 0; }
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        w[0] = word(words, i);
    }
};

struct FormatQ4_0 : Simple, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kQ4_0;
    static constexpr int kMaxWeight = 15, kZero = 8;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, i);
        w[0] = low_nibbles(x);
        w[1] = high_nibbles(x);
    }
};

struct FormatQ4_1 : Simple, HalfScale<2> {
    static constexpr WeightKind kKind = WeightKind::kQ4_1;
    static constexpr int kMaxWeight = 15, kZero = 0;
    static constexpr bool kAffine = true;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        FormatQ4_0::step<Run>(words, i, w);
    }
};

// Bit g of the regrouped qh belongs to columns 4g..4g+3.
struct FormatQ5_0 : Simple, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kQ5_0;
    static constexpr int kMaxWeight = 31, kZero = 16;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, 1 + i), high = shift_right16(word(words, 0), i), bit = splat_u8(16);
        w[0] = low_nibbles(x) | (shl16<4>(high) & bit);
        w[1] = high_nibbles(x) | (high & bit);
    }
};

struct FormatQ5_1 : Simple, HalfScale<2> {
    static constexpr WeightKind kKind = WeightKind::kQ5_1;
    static constexpr int kMaxWeight = 31, kZero = 0;
    static constexpr bool kAffine = true;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        FormatQ5_0::step<Run>(words, i, w);
    }
};

constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1 doubled (0 1 2 3 4 6 8 12 and their negatives) plus 12.
constexpr int8_t kMxfp4Levels[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct FormatIQ4_NL : Simple, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kIQ4_NL;
    static constexpr int kMaxWeight = 127, kZero = 0;
    static constexpr bool kSigned = true;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, i);
        const Table16 levels = table16(kIq4Levels);
        w[0] = lookup(levels, low_nibbles(x));
        w[1] = lookup(levels, high_nibbles(x));
    }
};

struct FormatMXFP4 : Simple {
    static constexpr WeightKind kKind = WeightKind::kMXFP4;
    static constexpr int kMaxWeight = 24, kZero = 12, kHalves = 0, kHalfBytes = 16;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, i);
        const Table16 levels = table16(kMxfp4Levels);
        w[0] = lookup(levels, low_nibbles(x));
        w[1] = lookup(levels, high_nibbles(x));
    }
    // 2^(e - 128), half of the block's scale because the levels are doubled; subnormal below e = 2.
    static STERNA_INLINE F32 d(const uint8_t* exponents) {
        const I32 e = load_u8(exponents), one = splat(int32_t(1));
        const I32 normal = shl<23>(e - one),
                  small = select(eq(e, one), splat(int32_t(0x00400000)), splat(int32_t(0x00200000)));
        return as_f32(select(gt(e, one), normal, small));
    }
};

// ---- 256 columns
// -----------------------------------------------------------------------------------------------------------

// The twelve scale bytes of Q4_K and Q5_K are three words.
struct ScalesAndMins {
    static constexpr int kStreams = kPanelsTogether;
    static constexpr bool kScaled = true, kSignedScales = false, kMins = true, kApart = false;
    static STERNA_INLINE void scales(const uint8_t* words, const uint8_t*, B64* s) {
        const B64 w0 = word(words, 0), w2 = word(words, 2);
        s[0] = w0 & splat_u8(63);
        s[1] = low_nibbles(w2) | (shr16<2>(w0) & splat_u8(48));
    }
    static STERNA_INLINE void mins(const uint8_t* words, B64* m) {
        const B64 w1 = word(words, 1), w2 = word(words, 2);
        m[0] = w1 & splat_u8(63);
        m[1] = high_nibbles(w2) | (shr16<2>(w1) & splat_u8(48));
    }
};

struct FormatQ4_K : ScalesAndMins, HalfScale<2> {
    static constexpr WeightKind kKind = WeightKind::kQ4_K;
    static constexpr int kCols = 256, kSub = 32, kRuns = 4, kSteps = 8, kPlanes = 2, kMaxWeight = 15, kZero = 0;
    static constexpr bool kSigned = false, kAffine = false;
    static constexpr int column(int run, int plane) { return 64 * run + 32 * plane; }
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, 3 + 8 * Run + i);
        w[0] = low_nibbles(x);
        w[1] = high_nibbles(x);
    }
};

struct FormatQ5_K : ScalesAndMins, HalfScale<2> {
    static constexpr WeightKind kKind = WeightKind::kQ5_K;
    static constexpr int kCols = 256, kSub = 32, kRuns = 4, kSteps = 8, kPlanes = 2, kMaxWeight = 31, kZero = 0;
    static constexpr bool kSigned = false, kAffine = false;
    static constexpr int column(int run, int plane) { return 64 * run + 32 * plane; }
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, 11 + 8 * Run + i), high = word(words, 3 + i), bit = splat_u8(16);
        w[0] = low_nibbles(x) | (move16<4 - 2 * Run>(high) & bit);
        w[1] = high_nibbles(x) | (move16<3 - 2 * Run>(high) & bit);
    }
};

// Q2_K, Q3_K and Q6_K: run = 2 * half + part; a half has 128 columns in four planes of 32, a part is 16 columns of
// every plane.
struct Planes16 {
    static constexpr int kCols = 256, kSub = 16, kRuns = 4, kSteps = 4, kPlanes = 4;
    static constexpr bool kSigned = false, kAffine = false, kScaled = true, kApart = true;
    static constexpr int column(int run, int plane) { return 128 * (run / 2) + 16 * (run % 2) + 32 * plane; }
};

struct FormatQ2_K : Planes16, HalfScale<2> {
    static constexpr WeightKind kKind = WeightKind::kQ2_K;
    static constexpr int kMaxWeight = 3, kZero = 0, kStreams = 1;
    static constexpr bool kSignedScales = false, kMins = true;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, 4 + 4 * Run + i), mask = splat_u8(3);
        w[0] = x & mask;
        w[1] = shr16<2>(x) & mask;
        w[2] = shr16<4>(x) & mask;
        w[3] = shr16<6>(x) & mask;
    }
    static STERNA_INLINE void scales(const uint8_t* words, const uint8_t*, B64* s) {
        for (int quad = 0; quad < 4; ++quad) s[quad] = low_nibbles(word(words, quad));
    }
    static STERNA_INLINE void mins(const uint8_t* words, B64* m) {
        for (int quad = 0; quad < 4; ++quad) m[quad] = high_nibbles(word(words, quad));
    }
};

struct FormatQ3_K : Planes16, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kQ3_K;
    static constexpr int kMaxWeight = 7, kZero = 4, kStreams = 1;
    static constexpr bool kSignedScales = true, kMins = false;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        constexpr int bit = 4 * (Run / 2);
        const B64 x = word(words, 8 + 4 * Run + i), high = word(words, 4 * (Run % 2) + i), mask = splat_u8(3),
                  four = splat_u8(4);
        w[0] = (x & mask) | (move16<2 - bit>(high) & four);
        w[1] = (shr16<2>(x) & mask) | (move16<1 - bit>(high) & four);
        w[2] = (shr16<4>(x) & mask) | (move16<0 - bit>(high) & four);
        w[3] = (shr16<6>(x) & mask) | (move16<-1 - bit>(high) & four);
    }
    static STERNA_INLINE void scales(const uint8_t* words, const uint8_t*, B64* s) {
        const B64 w0 = word(words, 24), w1 = word(words, 25), w2 = word(words, 26), high = splat_u8(48),
                  bias = splat_u8(32);
        s[0] = sub_u8(low_nibbles(w0) | (shl16<4>(w2) & high), bias);
        s[1] = sub_u8(low_nibbles(w1) | (shl16<2>(w2) & high), bias);
        s[2] = sub_u8(high_nibbles(w0) | (w2 & high), bias);
        s[3] = sub_u8(high_nibbles(w1) | (shr16<2>(w2) & high), bias);
    }
};

// Regrouped (layout.h): the fourth plane lies above the other three.
struct FormatQ6_K : Planes16, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kQ6_K;
    static constexpr int kMaxWeight = 63, kZero = 32, kStreams = kPanelsTogether;
    static constexpr bool kSignedScales = true, kMins = false;
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const uint8_t* three = words + 64 * (4 + 12 * Run + 3 * i);
        const B64 x = word(three, 0), y = word(three, 1), z = word(three, 2), six = splat_u8(63);
        w[0] = x & six;
        w[1] = y & six;
        w[2] = z & six;
        w[3] = (shr16<6>(x) & splat_u8(3)) | (shr16<4>(y) & splat_u8(12)) | (shr16<2>(z) & splat_u8(48));
    }
    static STERNA_INLINE void scales(const uint8_t* words, const uint8_t*, B64* s) {
        for (int quad = 0; quad < 4; ++quad) s[quad] = word(words, quad);
    }
};

struct FormatIQ4_XS : HalfScale<2> {
    static constexpr WeightKind kKind = WeightKind::kIQ4_XS;
    static constexpr int kCols = 256, kSub = 32, kRuns = 8, kSteps = 4, kPlanes = 2, kMaxWeight = 127, kZero = 0,
                         kStreams = 1;
    static constexpr bool kSigned = true, kAffine = false, kScaled = true, kSignedScales = true, kMins = false;
    static constexpr int column(int run, int plane) { return 32 * run + 16 * plane; }
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, 1 + 4 * Run + i);
        const Table16 levels = table16(kIq4Levels);
        w[0] = lookup(levels, low_nibbles(x));
        w[1] = lookup(levels, high_nibbles(x));
    }
    // scales_l holds scales 0, 2, 4, 6 in its low nibbles and 1, 3, 5, 7 in its high ones; scales_h two bits for each
    // of the eight in order.
    static STERNA_INLINE void scales(const uint8_t* words, const uint8_t* halves, B64* s) {
        const I32 low = lanes_of(word(words, 0)), high = load_u16(reinterpret_cast<const uint16_t*>(halves + 32));
        const I32 nibble = splat(int32_t(15)), two = splat(int32_t(48));
        I32 quad[2];
        unroll<2>([&](auto q) STERNA_LAMBDA {
            I32 sum = zero_i32();
            unroll<4>([&](auto b) STERNA_LAMBDA {
                constexpr int k = 4 * q + b;
                const I32 scale = (shr<4 * k>(low) & nibble) | (move_high<k>(high) & two);
                sum = sum | shl<8 * b>(scale);
            });
            quad[q] = sum;
        });
        s[0] = sub_u8(bytes_of(quad[0]), splat_u8(32));
        s[1] = sub_u8(bytes_of(quad[1]), splat_u8(32));
    }
    template <int K>
    static STERNA_INLINE I32 move_high(I32 high) {
        if constexpr (2 * K < 4)
            return shl<4 - 2 * K>(high);
        else
            return shr<2 * K - 4>(high);
    }
};

struct FormatTQ2_0 : Unscaled, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kTQ2_0;
    static constexpr int kCols = 256, kSub = 256, kRuns = 2, kSteps = 8, kPlanes = 4, kMaxWeight = 3, kZero = 1,
                         kStreams = 1;
    static constexpr bool kSigned = false, kAffine = false;
    static constexpr int column(int run, int plane) { return 128 * run + 32 * plane; }
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        const B64 x = word(words, 8 * Run + i), mask = splat_u8(3);
        w[0] = x & mask;
        w[1] = shr16<2>(x) & mask;
        w[2] = shr16<4>(x) & mask;
        w[3] = shr16<6>(x) & mask;
    }
};

// Runs: words 0-7 (32 bytes a trit), words 8-11 (16 bytes), word 12 (four trits only). Trit n of byte v is (v 3^n mod
// 256) * 3 >> 8, that is, how many of 86 and 171 the byte v 3^n mod 256 reaches. Bytes are compared as signed, 128 too
// low: tripling keeps that offset (384 = 128 mod 256).
struct FormatTQ1_0 : Unscaled, HalfScale<1> {
    static constexpr WeightKind kKind = WeightKind::kTQ1_0;
    static constexpr int kCols = 256, kSub = 256, kRuns = 3, kSteps = 8, kPlanes = 5, kMaxWeight = 2, kZero = 1,
                         kStreams = 1;
    static constexpr bool kSigned = false, kAffine = false;
    static constexpr int steps(int run) { return run == 0 ? 8 : run == 1 ? 4 : 1; }
    static constexpr int planes(int run) { return run == 2 ? 4 : 5; }
    static constexpr int column(int run, int plane) {
        return run == 0 ? 32 * plane : run == 1 ? 160 + 16 * plane : 240 + 4 * plane;
    }
    template <int Run>
    static STERNA_INLINE void step(const uint8_t* words, int i, B64* w) {
        constexpr int first = Run == 0 ? 0 : Run == 1 ? 8 : 12;
        B64 x = word(words, first + i) ^ splat_u8(128);
        unroll<planes(Run)>([&](auto plane) STERNA_LAMBDA {
            w[plane] = sub_u8(sub_u8(zero_b64(), gt_s8(x, splat_u8(uint8_t(85 - 128)))), gt_s8(x, splat_u8(170 - 128)));
            if constexpr (plane + 1 < planes(Run)) x = add_u8(add_u8(x, x), x);
        });
    }
};

template <typename F>
constexpr int kWords = layout_of(F::kKind).n_words;
template <typename F>
constexpr int steps_of(int run) {
    if constexpr (requires { F::steps(run); })
        return F::steps(run);
    else
        return F::kSteps;
}
template <typename F>
constexpr int planes_of(int run) {
    if constexpr (requires { F::planes(run); })
        return F::planes(run);
    else
        return F::kPlanes;
}

}  // namespace
}  // namespace sterna::kernels
