#define STERNA_ISA_AVX2
#define STERNA_TABLE kAvx2NetKernels
#define STERNA_TABLE_NAME "avx2"
#include "train/net_kernels.inl"
