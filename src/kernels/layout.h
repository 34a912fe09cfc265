// The packed layouts of weight matrices, one row of a table per kind. A panel is 16 rows; it takes the bytes that its
// rows take in the file, rounded up to 64. A file block is cut into 4-byte words and 2-byte halves, and both are
// transposed, so that lane r belongs to row r.
#pragma once

// clang-format off
//   panel:  [block 0 words][block 1 words]... then [block 0 halves][block 1 halves]... then zeros up to 64 bytes
//   words:  per block n_words vectors of 64 bytes: word w of row 0, of row 1, ... row 15 (a B64)
//   halves: per block n_halves vectors of 32 bytes: half h of row 0, ... row 15 (d, m, dmin, IQ4_XS scales_h)
//   MXFP4:  its one-byte scale stands where the halves would: 16 bytes per block
//   F32, F16, BF16: [column][16 rows]
//
// The bytes of a word are four neighbouring elements (or planes of four), because all of GGUF's blocks keep neighbours
// in neighbouring bytes:
//
//   kind     words (in file order)                     halves       element 4i + b of lane r
//   Q8_0     8 q                                       d            byte b of word i
//   Q4_0     4 qs                                      d            low nibbles 0-15, high nibbles 16-31; q - 8
//   Q4_1     4 qs                                      d m          q
//   Q5_0     1 qh, 4 qs                                d            q - 16; qh regrouped: bit g of byte b is of 4g + b
//   Q5_1     1 qh, 4 qs                                d m          q
//   IQ4_NL   4 qs                                      d            table
//   MXFP4    4 qs                                      (e)          table
//   Q2_K     4 scales (low: scale, high: min), 16 qs   d dmin       as in tensor/dtype_blocks.h, from here on
//   Q3_K     8 hmask, 16 qs, 3 scales                  d
//   Q4_K     3 scales, 32 qs                           d dmin
//   Q5_K     3 scales, 8 qh, 32 qs                     d dmin
//   Q6_K     4 scales, 48 x (regrouped)                d            run r, step i, four planes: words x = 3 (4r + i) and
//                                                                   two more hold planes 0-2 in their low six bits and
//                                                                   bits 0-1, 2-3, 4-5 of plane 3 above
//   IQ4_XS   1 scales_l, 32 qs                         d scales_h
//   TQ1_0    12 qs, 1 qh                               d
//   TQ2_0    16 qs                                     d
//
// Arithmetic, the same on every ISA (da: the activations' scale; all in float, unfused, in block order):
//   32-wide:   acc = acc + (d * da) * float(sum of q * a)
//     Q4_1 and Q5_1 then: acc = acc + (m * da) * float(sum of a)
//   256-wide:  acc = acc + (d * da) * float(sum of scale * q * a)
//     Q2_K, Q4_K, Q5_K then: acc = acc - (dmin * da) * float(sum of min * a)
//   floats:    acc = acc + w * x, column after column
// clang-format on

#include "kernels/kernels.h"

namespace sterna::kernels {

struct Layout {
    int block_cols;
    int n_words, n_halves;         // per row and block
    int word_offset, half_offset;  // of the first one in a file block
    int file_bytes;                // of a file block
};

constexpr Layout layout_of(WeightKind kind) {
    switch (kind) {
        case WeightKind::kF32:
            return {1, 1, 0, 0, 0, 4};
        case WeightKind::kF16:
            return {1, 0, 1, 0, 0, 2};
        case WeightKind::kBF16:
            return {1, 0, 1, 0, 0, 2};
        case WeightKind::kQ8_0:
            return {32, 8, 1, 2, 0, 34};
        case WeightKind::kQ4_0:
            return {32, 4, 1, 2, 0, 18};
        case WeightKind::kQ4_1:
            return {32, 4, 2, 4, 0, 20};
        case WeightKind::kQ5_0:
            return {32, 5, 1, 2, 0, 22};
        case WeightKind::kQ5_1:
            return {32, 5, 2, 4, 0, 24};
        case WeightKind::kIQ4_NL:
            return {32, 4, 1, 2, 0, 18};
        case WeightKind::kMXFP4:
            return {32, 4, 0, 1, 0, 17};
        case WeightKind::kQ2_K:
            return {256, 20, 2, 0, 80, 84};
        case WeightKind::kQ3_K:
            return {256, 27, 1, 0, 108, 110};
        case WeightKind::kQ4_K:
            return {256, 35, 2, 4, 0, 144};
        case WeightKind::kQ5_K:
            return {256, 43, 2, 4, 0, 176};
        case WeightKind::kQ6_K:
            return {256, 52, 1, 0, 208, 210};
        case WeightKind::kIQ4_XS:
            return {256, 33, 2, 4, 0, 136};
        case WeightKind::kTQ1_0:
            return {256, 13, 1, 0, 52, 54};
        case WeightKind::kTQ2_0:
            return {256, 16, 1, 0, 64, 66};
        case WeightKind::kCount:
            break;
    }
    return {};
}

// The kernels keep one sum per 16 or 32 columns in their scratch, and offsets in 32 bits: a limit far above any model.
constexpr int64_t kMaxCols = int64_t(1) << 22;

// Where the halves of a panel start; n_blocks = n_cols / block_cols.
constexpr int64_t halves_offset(WeightKind kind, int64_t n_blocks) {
    return n_blocks * layout_of(kind).n_words * 64;
}

// Requires: n_cols % block_cols == 0.
constexpr int64_t panel_bytes(WeightKind kind, int64_t n_cols) {
    const Layout layout = layout_of(kind);
    return (n_cols / layout.block_cols * layout.file_bytes * kPanelRows + 63) / 64 * 64;
}

}  // namespace sterna::kernels
