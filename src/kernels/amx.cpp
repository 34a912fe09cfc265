// The AVX-512 table's entries that AMX-int8 replaces.
#define STERNA_ISA_AVX512
#define STERNA_AVX512_TABLE kAvx512Kernels
#define STERNA_AMX_ENTRIES kAmxMatmul
#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "simd/vec.h"

namespace sterna::kernels {
extern const Kernels kAvx512Kernels;
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
