// Floats to blocks: the plain types.
#include <cstring>

#include "tensor/dtype_blocks.h"
#include "tensor/dtype_codec.h"

namespace sterna::detail {

void encode_f32(const float* from, uint8_t* to, int64_t n, const float*) {
    std::memcpy(to, from, size_t(n) * sizeof(float));
}

void encode_f16(const float* from, uint8_t* to, int64_t n, const float*) {
    for (int64_t i = 0; i < n; ++i) put_half(to + 2 * i, float_to_half(from[i]));
}

void encode_bf16(const float* from, uint8_t* to, int64_t n, const float*) {
    for (int64_t i = 0; i < n; ++i) put_half(to + 2 * i, float_to_bfloat(from[i]));
}

}  // namespace sterna::detail
