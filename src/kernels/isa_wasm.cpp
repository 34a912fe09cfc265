#define STERNA_ISA_WASM
#define STERNA_TABLE kWasmKernels
#define STERNA_TABLE_NAME "wasm"
#include "kernels/isa_body.inl"
