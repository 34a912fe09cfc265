// Blocks to floats. Each value is formed with the same operations in the same order as the reference decoders, so it is
// the same bits.
#include <cstring>

#include "tensor/dtype_blocks.h"
#include "tensor/dtype_codec.h"

namespace sterna::detail {

namespace {

// Calls body(block, out) for each block of n elements.
template <typename Block, int kElements, typename Body>
void each_block(const uint8_t* from, float* to, int64_t n, Body body) {
    for (int64_t i = 0; i < n / kElements; ++i)
        body(*reinterpret_cast<const Block*>(from + i * int64_t(sizeof(Block))), to + i * kElements);
}

// Calls store(element, q) for the 32 nibbles of a simple block.
template <typename Store>
void each_nibble(const uint8_t* qs, Store store) {
    for (int j = 0; j < 16; ++j) {
        store(j, qs[j] & 15);
        store(j + 16, qs[j] >> 4);
    }
}

}  // namespace

void decode_f32(const uint8_t* from, float* to, int64_t n) {
    if (n > 0) std::memcpy(to, from, size_t(n) * sizeof(float));  // no bytes may mean null pointers
}

void decode_bf16(const uint8_t* from, float* to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = bfloat_to_float(load_le<uint16_t>(from + 2 * i));
}

void decode_q4_0(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ4_0, 32>(from, to, n, [](const BlockQ4_0& b, float* out) {
        const float d = half_at(b.d);
        each_nibble(b.qs, [&](int j, int q) { out[j] = float(q - 8) * d; });
    });
}

void decode_q4_1(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ4_1, 32>(from, to, n, [](const BlockQ4_1& b, float* out) {
        const float d = half_at(b.d), m = half_at(b.m);
        each_nibble(b.qs, [&](int j, int q) { out[j] = float(q) * d + m; });
    });
}

void decode_q5_0(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ5_0, 32>(from, to, n, [](const BlockQ5_0& b, float* out) {
        const float d = half_at(b.d);
        const uint32_t qh = load_le<uint32_t>(b.qh);
        each_nibble(b.qs, [&](int j, int q) { out[j] = float((q | int(qh >> j & 1) << 4) - 16) * d; });
    });
}

void decode_q5_1(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ5_1, 32>(from, to, n, [](const BlockQ5_1& b, float* out) {
        const float d = half_at(b.d), m = half_at(b.m);
        const uint32_t qh = load_le<uint32_t>(b.qh);
        each_nibble(b.qs, [&](int j, int q) { out[j] = float(q | int(qh >> j & 1) << 4) * d + m; });
    });
}

void decode_q8_0(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ8_0, 32>(from, to, n, [](const BlockQ8_0& b, float* out) {
        const float d = half_at(b.d);
        for (int j = 0; j < 32; ++j) out[j] = float(b.qs[j]) * d;
    });
}

void decode_iq4_nl(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockIQ4_NL, 32>(from, to, n, [](const BlockIQ4_NL& b, float* out) {
        const float d = half_at(b.d);
        each_nibble(b.qs, [&](int j, int q) { out[j] = d * float(kIq4Values[q]); });
    });
}

void decode_mxfp4(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockMXFP4, 32>(from, to, n, [](const BlockMXFP4& b, float* out) {
        const float d = mxfp4_half_scale(b.e);
        each_nibble(b.qs, [&](int j, int q) { out[j] = d * float(kMxfp4Doubled[q]); });
    });
}

void decode_q2_k(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ2_K, 256>(from, to, n, [](const BlockQ2_K& b, float* out) {
        const float d = half_at(b.d), dmin = half_at(b.dmin);
        for (int k = 0; k < 16; ++k) {
            const float scale = d * float(b.scales[k] & 15), min = dmin * float(b.scales[k] >> 4);
            const uint8_t* qs = b.qs + k / 8 * 32 + k % 2 * 16;
            const int shift = k / 2 % 4 * 2;
            for (int l = 0; l < 16; ++l) out[k * 16 + l] = scale * float(qs[l] >> shift & 3) - min;
        }
    });
}

void decode_q3_k(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ3_K, 256>(from, to, n, [](const BlockQ3_K& b, float* out) {
        const float d = half_at(b.d);
        for (int k = 0; k < 16; ++k) {
            const float scale = d * float(q3k_scale(b.scales, k));
            const uint8_t* qs = b.qs + k / 8 * 32 + k % 2 * 16;
            const uint8_t* hmask = b.hmask + k % 2 * 16;
            const int shift = k / 2 % 4 * 2;
            for (int l = 0; l < 16; ++l)
                out[k * 16 + l] = scale * float((qs[l] >> shift & 3) - (hmask[l] >> (k / 2) & 1 ? 0 : 4));
        }
    });
}

void decode_q4_k(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ4_K, 256>(from, to, n, [](const BlockQ4_K& b, float* out) {
        const float d = half_at(b.d), dmin = half_at(b.dmin);
        for (int j = 0; j < 8; ++j) {
            const ScaleMin sm = k_scale_min(b.scales, j);
            const float scale = d * float(sm.scale), min = dmin * float(sm.min);
            const uint8_t* qs = b.qs + j / 2 * 32;
            for (int l = 0; l < 32; ++l) out[j * 32 + l] = scale * float(qs[l] >> (j % 2 * 4) & 15) - min;
        }
    });
}

void decode_q5_k(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ5_K, 256>(from, to, n, [](const BlockQ5_K& b, float* out) {
        const float d = half_at(b.d), dmin = half_at(b.dmin);
        for (int j = 0; j < 8; ++j) {
            const ScaleMin sm = k_scale_min(b.scales, j);
            const float scale = d * float(sm.scale), min = dmin * float(sm.min);
            const uint8_t* qs = b.qs + j / 2 * 32;
            for (int l = 0; l < 32; ++l) {
                const int q = (qs[l] >> (j % 2 * 4) & 15) | (b.qh[l] >> j & 1) << 4;
                out[j * 32 + l] = scale * float(q) - min;
            }
        }
    });
}

void decode_q6_k(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockQ6_K, 256>(from, to, n, [](const BlockQ6_K& b, float* out) {
        const float d = half_at(b.d);
        for (int k = 0; k < 16; ++k) {
            const int half = k / 8, plane = k / 2 % 4, l0 = k % 2 * 16;
            const uint8_t *ql = b.ql + half * 64 + plane % 2 * 32 + l0, *qh = b.qh + half * 32 + l0;
            const float scale = d * float(b.scales[k]);
            for (int l = 0; l < 16; ++l) {
                const int q = (ql[l] >> (plane / 2 * 4) & 15) | (qh[l] >> (2 * plane) & 3) << 4;
                out[k * 16 + l] = scale * float(q - 32);
            }
        }
    });
}

void decode_iq4_xs(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockIQ4_XS, 256>(from, to, n, [](const BlockIQ4_XS& b, float* out) {
        const float d = half_at(b.d);
        for (int k = 0; k < 8; ++k) {
            const float scale = d * float(iq4xs_scale(b, k));
            each_nibble(b.qs + 16 * k, [&](int j, int q) { out[k * 32 + j] = scale * float(kIq4Values[q]); });
        }
    });
}

void decode_tq1_0(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockTQ1_0, 256>(from, to, n, [](const BlockTQ1_0& b, float* out) {
        const float d = half_at(b.d);
        auto run = [&](const uint8_t* bytes, int n_bytes, int n_trits) {
            for (int trit = 0; trit < n_trits; ++trit)
                for (int l = 0; l < n_bytes; ++l) *out++ = float(tq1_trit(bytes[l], trit) - 1) * d;
        };
        run(b.qs, 32, 5);
        run(b.qs + 32, 16, 5);
        run(b.qh, 4, 4);
    });
}

void decode_tq2_0(const uint8_t* from, float* to, int64_t n) {
    each_block<BlockTQ2_0, 256>(from, to, n, [](const BlockTQ2_0& b, float* out) {
        const float d = half_at(b.d);
        for (int i = 0; i < 256; ++i) out[i] = float((b.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) - 1) * d;
    });
}

}  // namespace sterna::detail
