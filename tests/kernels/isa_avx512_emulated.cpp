// The AVX-512 bodies of quantization and matmul over emulated intrinsics: the table kAvx512Emulated (its other entries
// are null).
#define STERNA_EMULATE_AVX512
#define STERNA_ISA_AVX512
#include "kernels/avx512_emulation.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "simd/vec.h"

namespace sterna::kernels {
namespace {

using namespace sterna::simd;
using namespace sterna::simd::avx512;

}  // namespace
}  // namespace sterna::kernels

// clang-format off
#include "kernels/quantize.inl"
#include "kernels/matmul_formats.inl"
#include "kernels/matmul.inl"
#include "kernels/matmul_float.inl"
// clang-format on

namespace sterna::kernels {

extern const Kernels kAvx512Emulated;
const Kernels kAvx512Emulated = {
    .name = "avx512 (emulated)",
    .matmul = {matmul_float<FloatF32>, matmul_float<FloatF16>, matmul_float<FloatBF16>, matmul<FormatQ8_0>,
               matmul<FormatQ4_0>, matmul<FormatQ4_1>, matmul<FormatQ5_0>, matmul<FormatQ5_1>, matmul<FormatQ2_K>,
               matmul<FormatQ3_K>, matmul<FormatQ4_K>, matmul<FormatQ5_K>, matmul<FormatQ6_K>, matmul<FormatIQ4_NL>,
               matmul<FormatIQ4_XS>, matmul<FormatMXFP4>, matmul<FormatTQ1_0>, matmul<FormatTQ2_0>},
    .quantize_q8_32 = quantize_q8_32,
    .quantize_q8_256 = quantize_q8_256,
};

}  // namespace sterna::kernels
