#define STERNA_ISA_SCALAR
#define STERNA_TABLE kScalarKernels
#define STERNA_TABLE_NAME "scalar"
#include "kernels/isa_body.inl"
