// The encoders behind the table of types: plain types here, blocks as this machine does them fastest (encode_table.h).
#include <cstring>

#include "base/half.h"
#include "kernels/kernels.h"
#include "tensor/dtype.h"
#include "tensor/dtype_blocks.h"
#include "tensor/dtype_codec.h"
#include "tensor/encode_table.h"

namespace sterna::detail {

const Encoders& encoders() {
#ifdef STERNA_ENCODE_AVX2
    static const bool has_avx2 = __builtin_cpu_supports("avx2") && std::strcmp(kernels::active().name, "scalar") != 0;
    if (has_avx2) return kAvx2Encoders;
#endif
    return kBaseEncoders;
}

void encode_f32(const float* from, uint8_t* to, int64_t n, const float*) {
    if (n > 0) std::memcpy(to, from, size_t(n) * sizeof(float));  // no bytes may mean null pointers
}

void encode_f16(const float* from, uint8_t* to, int64_t n, const float*) {
    for (int64_t i = 0; i < n; ++i) put_half(to + 2 * i, float_to_half(from[i]));
}

void encode_bf16(const float* from, uint8_t* to, int64_t n, const float*) {
    for (int64_t i = 0; i < n; ++i) put_half(to + 2 * i, float_to_bfloat(from[i]));
}

void encode_q4_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q4_0(from, to, n, importance);
}

void encode_q4_1(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q4_1(from, to, n, importance);
}

void encode_q5_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q5_0(from, to, n, importance);
}

void encode_q5_1(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q5_1(from, to, n, importance);
}

void encode_q8_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q8_0(from, to, n, importance);
}

void encode_iq4_nl(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().iq4_nl(from, to, n, importance);
}

void encode_q2_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q2_k(from, to, n, importance);
}

void encode_q3_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q3_k(from, to, n, importance);
}

void encode_q4_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q4_k(from, to, n, importance);
}

void encode_q5_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q5_k(from, to, n, importance);
}

void encode_q6_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().q6_k(from, to, n, importance);
}

void encode_iq4_xs(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().iq4_xs(from, to, n, importance);
}

void encode_tq1_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().tq1_0(from, to, n, importance);
}

void encode_tq2_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().tq2_0(from, to, n, importance);
}

void encode_mxfp4(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encoders().mxfp4(from, to, n, importance);
}

void decode_f16(const uint8_t* from, float* to, int64_t n) {
    encoders().decode_f16(from, to, n);
}

}  // namespace sterna::detail

namespace sterna {

bool all_finite(std::span<const float> values) {
    return detail::encoders().all_finite(values.data(), int64_t(values.size()));
}

}  // namespace sterna
