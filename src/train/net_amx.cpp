// The AVX-512 table's entry that AMX-bf16 replaces.
#define STERNA_AMX_GEMM kAmxBf16Gemm
#include <immintrin.h>

#include "train/gemm_amx.inl"
