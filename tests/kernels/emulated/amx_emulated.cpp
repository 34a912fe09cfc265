// The AMX entries over emulated tiles and emulated AVX-512 intrinsics: kAmxEmulatedMatmul.
#define STERNA_EMULATE_AVX512
#define STERNA_ISA_AVX512
#define STERNA_AVX512_TABLE kAvx512Emulated
#define STERNA_AMX_ENTRIES kAmxEmulatedMatmul
#include "kernels/emulated/amx_emulation.h"
#include "kernels/emulated/avx512_emulation.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "simd/vec.h"

namespace sterna::kernels {
extern const Kernels kAvx512Emulated;
namespace {

using namespace sterna::simd;
using namespace sterna::simd::avx512;

}  // namespace
}  // namespace sterna::kernels

// clang-format off
#include "kernels/matmul_formats.inl"
#include "kernels/matmul.inl"
#include "kernels/matmul_amx.inl"
// clang-format on
