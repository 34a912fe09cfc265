#define STERNA_ENCODERS kBaseEncoders
#include "tensor/encode_body.inl"
