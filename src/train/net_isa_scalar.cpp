#define STERNA_ISA_SCALAR
#define STERNA_TABLE kScalarNetKernels
#define STERNA_TABLE_NAME "scalar"
#include "train/net_kernels.inl"
