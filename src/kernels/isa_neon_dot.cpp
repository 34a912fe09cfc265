#define STERNA_ISA_NEON
#define STERNA_TABLE kNeonDotKernels
#define STERNA_TABLE_NAME "neon_dot"
#include "kernels/isa_body.inl"
