// What every isa_*.cpp consists of: the bodies, compiled for the ISA that the file has defined, and its one exported
// table, STERNA_TABLE.
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "simd/vec.h"

namespace sterna::kernels {
namespace {

using namespace sterna::simd;
using namespace sterna::simd::STERNA_ISA_NS;

}  // namespace
}  // namespace sterna::kernels

// Each builds on those before it.
// clang-format off
#include "kernels/quantize.inl"
#include "kernels/matmul_formats.inl"
#include "kernels/matmul.inl"
#include "kernels/matmul_float.inl"
#include "kernels/rows.inl"
#include "kernels/kv.inl"
#include "kernels/attention.inl"
// clang-format on

namespace sterna::kernels {

extern const Kernels STERNA_TABLE;
const Kernels STERNA_TABLE = {
    .name = STERNA_TABLE_NAME,
    // In the order of WeightKind.
    .matmul = {matmul_float<FloatF32>, matmul_float<FloatF16>, matmul_float<FloatBF16>, matmul<FormatQ8_0>,
               matmul<FormatQ4_0>, matmul<FormatQ4_1>, matmul<FormatQ5_0>, matmul<FormatQ5_1>, matmul<FormatQ2_K>,
               matmul<FormatQ3_K>, matmul<FormatQ4_K>, matmul<FormatQ5_K>, matmul<FormatQ6_K>, matmul<FormatIQ4_NL>,
               matmul<FormatIQ4_XS>, matmul<FormatMXFP4>, matmul<FormatTQ1_0>, matmul<FormatTQ2_0>},
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
    .attention_merge = attention_merge,
    .kv_store = kv_store,
};

}  // namespace sterna::kernels
