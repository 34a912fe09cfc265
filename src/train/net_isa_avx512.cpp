#define STERNA_ISA_AVX512
#define STERNA_TABLE kAvx512NetKernels
#define STERNA_TABLE_NAME "avx512"
#include "train/net_kernels.inl"
