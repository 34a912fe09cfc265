// What every isa_*.cpp consists of: the bodies, compiled for the ISA that the file has defined, and its one exported table, STERNA_TABLE.
#include "kernels/kernels.h"
#include "simd/vec.h"

namespace sterna::kernels {
namespace {

using namespace sterna::simd;
using namespace sterna::simd::STERNA_ISA_NS;

}  // namespace
}  // namespace sterna::kernels

#include "kernels/quantize.inl"
#include "kernels/rows.inl"
#include "kernels/kv.inl"
#include "kernels/attention.inl"

namespace sterna::kernels {

extern const Kernels STERNA_TABLE;
const Kernels STERNA_TABLE = {
    .name = STERNA_TABLE_NAME,
    .matmul = {},
    .quantize_q8_32 = quantize_q8_32,
    .quantize_q8_256 = quantize_q8_256,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .rope_adjacent = rope_adjacent,
    .rope_half = rope_half,
    .add = add_rows,
    .mul = mul_rows,
    .scale = scale_row,
    .add_scaled = add_scaled,
    .silu_mul = silu_mul,
    .gelu_mul = gelu_mul,
    .relu2_mul = relu2_mul,
    .gelu = gelu,
    .gelu_erf = gelu_erf,
    .silu = silu,
    .softcap = softcap,
    .softmax = softmax,
    .log_sum_exp = log_sum_exp,
    .attention = attention,
    .kv_store = kv_store,
};

}  // namespace sterna::kernels
