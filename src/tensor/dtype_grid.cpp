#include "tensor/dtype_grid.h"

#include "tensor/dtype_blocks.h"
#include "tensor/dtype_levels.h"

namespace sterna {

using namespace detail;

namespace {

template <typename Block>
const Block& as(const uint8_t* bytes) {
    return *reinterpret_cast<const Block*>(bytes);
}
template <typename Block>
Block& as(uint8_t* bytes) {
    return *reinterpret_cast<Block*>(bytes);
}

BlockGrid simple(float d, float offset, int n_levels) {
    BlockGrid grid;
    grid.n_runs = 1;
    grid.run_elements = 32;
    grid.n_levels = n_levels;
    grid.scale[0] = d;
    grid.offset[0] = offset;
    return grid;
}

BlockGrid runs(int n_runs, int n_levels) {
    BlockGrid grid;
    grid.n_runs = n_runs;
    grid.run_elements = kBlockK / n_runs;
    grid.n_levels = n_levels;
    return grid;
}

template <typename Block>
BlockGrid scale_min_grid(const Block& block, int n_levels) {
    BlockGrid grid = runs(8, n_levels);
    const float d = half_at(block.d), dmin = half_at(block.dmin);
    for (int k = 0; k < 8; ++k) {
        const ScaleMin packed = k_scale_min(block.scales, k);
        grid.scale[k] = d * float(packed.scale);
        grid.offset[k] = -(dmin * float(packed.min));
    }
    return grid;
}

}  // namespace

bool has_block_grid(DType type) {
    switch (type) {
        case DType::kQ4_0:
        case DType::kQ4_1:
        case DType::kQ5_0:
        case DType::kQ5_1:
        case DType::kQ8_0:
        case DType::kIQ4_NL:
        case DType::kIQ4_XS:
        case DType::kQ2_K:
        case DType::kQ3_K:
        case DType::kQ4_K:
        case DType::kQ5_K:
        case DType::kQ6_K:
            return true;
        default:
            return false;
    }
}

BlockGrid read_block_grid(DType type, const uint8_t* block) {
    switch (type) {
        case DType::kQ4_0: {
            const float d = half_at(as<BlockQ4_0>(block).d);
            return simple(d, -8.0f * d, 16);
        }
        case DType::kQ4_1:
            return simple(half_at(as<BlockQ4_1>(block).d), half_at(as<BlockQ4_1>(block).m), 16);
        case DType::kQ5_0: {
            const float d = half_at(as<BlockQ5_0>(block).d);
            return simple(d, -16.0f * d, 32);
        }
        case DType::kQ5_1:
            return simple(half_at(as<BlockQ5_1>(block).d), half_at(as<BlockQ5_1>(block).m), 32);
        case DType::kQ8_0: {
            const float d = half_at(as<BlockQ8_0>(block).d);
            return simple(d, -127.0f * d, 255);
        }
        case DType::kIQ4_NL: {
            BlockGrid grid = simple(half_at(as<BlockIQ4_NL>(block).d), 0.0f, 16);
            grid.table = kIq4Values;
            return grid;
        }
        case DType::kIQ4_XS: {
            BlockGrid grid = runs(8, 16);
            grid.table = kIq4Values;
            const float d = half_at(as<BlockIQ4_XS>(block).d);
            for (int k = 0; k < 8; ++k) grid.scale[k] = d * float(iq4xs_scale(as<BlockIQ4_XS>(block), k));
            return grid;
        }
        case DType::kQ2_K: {
            BlockGrid grid = runs(16, 4);
            const BlockQ2_K& b = as<BlockQ2_K>(block);
            const float d = half_at(b.d), dmin = half_at(b.dmin);
            for (int k = 0; k < 16; ++k) {
                grid.scale[k] = d * float(b.scales[k] & 15);
                grid.offset[k] = -(dmin * float(b.scales[k] >> 4));
            }
            return grid;
        }
        case DType::kQ3_K: {
            BlockGrid grid = runs(16, 8);
            const float d = half_at(as<BlockQ3_K>(block).d);
            for (int k = 0; k < 16; ++k) {
                grid.scale[k] = d * float(q3k_scale(as<BlockQ3_K>(block).scales, k));
                grid.offset[k] = -4.0f * grid.scale[k];
            }
            return grid;
        }
        case DType::kQ4_K:
            return scale_min_grid(as<BlockQ4_K>(block), 16);
        case DType::kQ5_K:
            return scale_min_grid(as<BlockQ5_K>(block), 32);
        default: {
            BlockGrid grid = runs(16, 64);
            const float d = half_at(as<BlockQ6_K>(block).d);
            for (int k = 0; k < 16; ++k) {
                grid.scale[k] = d * float(as<BlockQ6_K>(block).scales[k]);
                grid.offset[k] = -32.0f * grid.scale[k];
            }
            return grid;
        }
    }
}

void write_block_levels(DType type, const uint8_t* levels, uint8_t* block) {
    switch (type) {
        case DType::kQ4_0:
            return put_nibbles(as<BlockQ4_0>(block).qs, nullptr, levels);
        case DType::kQ4_1:
            return put_nibbles(as<BlockQ4_1>(block).qs, nullptr, levels);
        case DType::kQ5_0:
            return put_nibbles(as<BlockQ5_0>(block).qs, as<BlockQ5_0>(block).qh, levels);
        case DType::kQ5_1:
            return put_nibbles(as<BlockQ5_1>(block).qs, as<BlockQ5_1>(block).qh, levels);
        case DType::kQ8_0:
            for (int i = 0; i < 32; ++i) as<BlockQ8_0>(block).qs[i] = int8_t(int(levels[i]) - 127);
            return;
        case DType::kIQ4_NL:
            return put_nibbles(as<BlockIQ4_NL>(block).qs, nullptr, levels);
        case DType::kIQ4_XS:
            for (int k = 0; k < 8; ++k) put_nibbles(as<BlockIQ4_XS>(block).qs + 16 * k, nullptr, levels + 32 * k);
            return;
        case DType::kQ2_K:
            return put_planes(as<BlockQ2_K>(block).qs, levels);
        case DType::kQ3_K:
            put_planes(as<BlockQ3_K>(block).qs, levels);
            return put_high_bits(as<BlockQ3_K>(block).hmask, levels, 2);
        case DType::kQ4_K:
            return put_nibble_pairs(as<BlockQ4_K>(block).qs, levels);
        case DType::kQ5_K:
            put_nibble_pairs(as<BlockQ5_K>(block).qs, levels);
            return put_high_bits(as<BlockQ5_K>(block).qh, levels, 4);
        default:
            return put_q6k_levels(as<BlockQ6_K>(block).ql, as<BlockQ6_K>(block).qh, levels);
    }
}

uint8_t nearest_level(const BlockGrid& grid, int run, float x) {
    const float scale = grid.scale[run];
    if (!(scale != 0.0f)) return 0;
    if (grid.table) {
        const float t = x / scale;
        int level = 0;
        // Midpoints belong to the higher level.
        while (level < 15 && 2.0f * t >= float(grid.table[level] + grid.table[level + 1])) ++level;
        return uint8_t(level);
    }
    const float t = (x - grid.offset[run]) / scale, high = float(grid.n_levels - 1);
    const float clamped = !(t > 0.0f) ? 0.0f : t < high ? t : high;
    constexpr float kShift = 12582912.0f;  // adding it leaves no fraction bits: rounds to even
    return uint8_t((clamped + kShift) - kShift);
}

}  // namespace sterna
