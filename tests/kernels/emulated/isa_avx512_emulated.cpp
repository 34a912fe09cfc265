// The whole AVX-512 table, as isa_avx512.cpp has it, over emulated intrinsics: kAvx512Emulated.
#define STERNA_EMULATE_AVX512
#define STERNA_ISA_AVX512
#define STERNA_TABLE kAvx512Emulated
#define STERNA_TABLE_NAME "avx512 (emulated)"
#include "kernels/emulated/avx512_emulation.h"
#include "kernels/isa_body.inl"
