#define STERNA_ISA_AVX2
#define STERNA_TABLE kAvx2Kernels
#define STERNA_TABLE_NAME "avx2"
#include "kernels/isa_body.inl"
