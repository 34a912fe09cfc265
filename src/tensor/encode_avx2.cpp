#define STERNA_ENCODERS kAvx2Encoders
#include "tensor/encode_body.inl"
