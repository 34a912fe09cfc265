// Values that are known to lie on the grid of a block type, as blocks that decode to the very same bits. The ordinary
// encoders look for the best grid, and need not find the one that is there. Function without state.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace sterna {

// Q4_0, Q8_0, TQ2_0 and MXFP4; n is a multiple of the block. Returns: false when the type is another one, or some block
// does not hold its values exactly; then `to` is undefined.
bool encode_lossless(DType type, const float* from, uint8_t* to, int64_t n);

}  // namespace sterna
