// The decoders and encoders behind the rows of dtype.cpp. Private to tensor/.
#pragma once

#include <cstdint>

namespace sterna::detail {

using DecodeFn = void (*)(const uint8_t* from, float* to, int64_t n);
using EncodeFn = void (*)(const float* from, uint8_t* to, int64_t n, const float* importance);

void decode_f32(const uint8_t* from, float* to, int64_t n);
void decode_f16(const uint8_t* from, float* to, int64_t n);
void decode_bf16(const uint8_t* from, float* to, int64_t n);
void decode_q4_0(const uint8_t* from, float* to, int64_t n);
void decode_q4_1(const uint8_t* from, float* to, int64_t n);
void decode_q5_0(const uint8_t* from, float* to, int64_t n);
void decode_q5_1(const uint8_t* from, float* to, int64_t n);
void decode_q8_0(const uint8_t* from, float* to, int64_t n);
void decode_iq4_nl(const uint8_t* from, float* to, int64_t n);
void decode_mxfp4(const uint8_t* from, float* to, int64_t n);
void decode_q2_k(const uint8_t* from, float* to, int64_t n);
void decode_q3_k(const uint8_t* from, float* to, int64_t n);
void decode_q4_k(const uint8_t* from, float* to, int64_t n);
void decode_q5_k(const uint8_t* from, float* to, int64_t n);
void decode_q6_k(const uint8_t* from, float* to, int64_t n);
void decode_iq4_xs(const uint8_t* from, float* to, int64_t n);
void decode_tq1_0(const uint8_t* from, float* to, int64_t n);
void decode_tq2_0(const uint8_t* from, float* to, int64_t n);

void encode_f32(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_f16(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_bf16(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q4_0(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q4_1(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q5_0(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q5_1(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q8_0(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_iq4_nl(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_mxfp4(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q2_k(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q3_k(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q4_k(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q5_k(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_q6_k(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_iq4_xs(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_tq1_0(const float* from, uint8_t* to, int64_t n, const float* importance);
void encode_tq2_0(const float* from, uint8_t* to, int64_t n, const float* importance);

}  // namespace sterna::detail
