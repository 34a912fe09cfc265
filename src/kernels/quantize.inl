// Activations to int8: one scale per block, the largest magnitude at 127. Exact sums of the rounded values go with
// them, so that zero points and minima of the weights cost one multiplication per block.
namespace sterna::kernels {
namespace {

// Maximum in any order: a tree of pairs. A NaN anywhere may or may not win; it only has to be the same everywhere, so
// the tree is fixed.
STERNA_INLINE float max_lane(F32 x) {
    float lanes[16];
    store(lanes, x);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; ++i) lanes[i] = lanes[i] > lanes[i + step] ? lanes[i] : lanes[i + step];
    return lanes[0];
}

template <int kBlock, int kSum>
STERNA_INLINE void quantize_q8(const float* x, int64_t n, int8_t* q, float* scales, int16_t* sums) {
    const F32 limit = splat(127.0f), negative_limit = splat(-127.0f);
    for (int64_t block = 0; block < n / kBlock; ++block, x += kBlock, q += kBlock) {
        F32 largest = zero_f32();
        for (int i = 0; i < kBlock; i += 16) largest = max(largest, abs(load_f32(x + i)));
        float scale = max_lane(largest) / 127.0f;
        // Below 2^-126 the reciprocal could overflow: such a block is zero.
        if (scale < 0x1p-126f) scale = 0.0f;
        const F32 inverse = splat(scale == 0.0f ? 0.0f : 1.0f / scale);
        scales[block] = scale;
        for (int s = 0; s < kBlock / kSum; ++s) {
            int32_t sum = 0;
            for (int i = s * kSum; i < (s + 1) * kSum; i += 16) {
                // max and min also bring a NaN (to -127) and an infinity into range.
                I32 rounded = round_i32(min(max(load_f32(x + i) * inverse, negative_limit), limit));
                store_s8(q + i, rounded);
                int32_t lanes[16];
                store(lanes, rounded);
                for (int lane = 0; lane < 16; ++lane) sum += lanes[lane];
            }
            *sums++ = int16_t(sum);
        }
    }
}

void quantize_q8_32(const float* x, int64_t n, int8_t* q, float* scales, int16_t* sums) {
    quantize_q8<32, 32>(x, n, q, scales, sums);
}
void quantize_q8_256(const float* x, int64_t n, int8_t* q, float* scales, int16_t* sums) {
    quantize_q8<256, 16>(x, n, q, scales, sums);
}

}  // namespace
}  // namespace sterna::kernels
