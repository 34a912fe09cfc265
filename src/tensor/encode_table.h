// The encoders of the block types, compiled once for the baseline and once for AVX2 from one text (encode_body.inl). Lanes
// are blocks, so nothing is summed across lanes and both give the same bytes. Private to tensor/.
#pragma once

#include <stdint.h>

namespace sterna::detail {

using EncodeFunction = void (*)(const float* from, uint8_t* to, int64_t n, const float* importance);

struct Encoders {
    EncodeFunction q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs, tq1_0, tq2_0, mxfp4;
    void (*decode_f16)(const uint8_t* from, float* to, int64_t n);
    bool (*all_finite)(const float* values, int64_t n);
};

extern const Encoders kBaseEncoders;
#ifdef STERNA_ENCODE_AVX2
extern const Encoders kAvx2Encoders;
#endif

// The fastest that this machine has; the baseline where STERNA_ISA asks for "scalar".
const Encoders& encoders();

}  // namespace sterna::detail
