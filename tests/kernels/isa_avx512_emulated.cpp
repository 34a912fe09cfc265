// The AVX-512 bodies over emulated intrinsics: the table kAvx512Emulated.
#define STERNA_EMULATE_AVX512
#define STERNA_ISA_AVX512
#define STERNA_TABLE kAvx512Emulated
#define STERNA_TABLE_NAME "avx512 (emulated)"
#include "kernels/avx512_emulation.h"
// The intrinsics' macros must be there before the bodies.
#include "kernels/isa_body.inl"
