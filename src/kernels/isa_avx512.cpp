#define STERNA_ISA_AVX512
#define STERNA_TABLE kAvx512Kernels
#define STERNA_TABLE_NAME "avx512"
#include "kernels/isa_body.inl"
