#define STERNA_ISA_NEON
#define STERNA_TABLE kNeonKernels
#define STERNA_TABLE_NAME "neon"
#include "kernels/isa_body.inl"
