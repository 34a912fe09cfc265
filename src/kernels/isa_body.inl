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

namespace sterna::kernels {

extern const Kernels STERNA_TABLE;
const Kernels STERNA_TABLE = {
    .name = STERNA_TABLE_NAME,
    .matmul = {},
    .quantize_q8_32 = quantize_q8_32,
    .quantize_q8_256 = quantize_q8_256,
    .rms_norm = nullptr,
    .layer_norm = nullptr,
    .rope_adjacent = nullptr,
    .rope_half = nullptr,
    .add = nullptr,
    .mul = nullptr,
    .scale = nullptr,
    .add_scaled = nullptr,
    .silu_mul = nullptr,
    .gelu_mul = nullptr,
    .relu2_mul = nullptr,
    .gelu = nullptr,
    .gelu_erf = nullptr,
    .silu = nullptr,
    .softcap = nullptr,
    .softmax = nullptr,
    .log_sum_exp = nullptr,
    .attention = nullptr,
    .kv_store = nullptr,
};

}  // namespace sterna::kernels
