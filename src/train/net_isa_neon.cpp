#define STERNA_ISA_NEON
#define STERNA_TABLE kNeonNetKernels
#define STERNA_TABLE_NAME "neon"
#include "train/net_kernels.inl"
