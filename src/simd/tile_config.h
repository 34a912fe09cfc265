// What _tile_loadconfig() reads: the shapes of the eight tile registers of AMX.
#pragma once

#include <stdint.h>

namespace sterna::simd {

struct alignas(64) TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace sterna::simd
