#include "tensor/pack.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels/layout.h"

namespace sterna {

using kernels::kPanelRows;
using kernels::Layout;
using kernels::WeightKind;

namespace {

void put_word(uint8_t* to, uint32_t word) {
    std::memcpy(to, &word, 4);
}

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t(2) << 20;

std::optional<WeightKind> kind_of(DType type) {
    switch (type) {
        case DType::kF32:
            return WeightKind::kF32;
        case DType::kF16:
            return WeightKind::kF16;
        case DType::kBF16:
            return WeightKind::kBF16;
        case DType::kQ8_0:
            return WeightKind::kQ8_0;
        case DType::kQ4_0:
            return WeightKind::kQ4_0;
        case DType::kQ4_1:
            return WeightKind::kQ4_1;
        case DType::kQ5_0:
            return WeightKind::kQ5_0;
        case DType::kQ5_1:
            return WeightKind::kQ5_1;
        case DType::kQ2_K:
            return WeightKind::kQ2_K;
        case DType::kQ3_K:
            return WeightKind::kQ3_K;
        case DType::kQ4_K:
            return WeightKind::kQ4_K;
        case DType::kQ5_K:
            return WeightKind::kQ5_K;
        case DType::kQ6_K:
            return WeightKind::kQ6_K;
        case DType::kIQ4_NL:
            return WeightKind::kIQ4_NL;
        case DType::kIQ4_XS:
            return WeightKind::kIQ4_XS;
        case DType::kMXFP4:
            return WeightKind::kMXFP4;
        case DType::kTQ1_0:
            return WeightKind::kTQ1_0;
        case DType::kTQ2_0:
            return WeightKind::kTQ2_0;
        default:
            return std::nullopt;
    }
}

// Vectors of the baseline's width; compilers turn the shuffles into unpack or zip instructions.
using Words4 = uint32_t __attribute__((vector_size(16)));
using Halves8 = uint16_t __attribute__((vector_size(16)));

template <typename V>
inline V load_vector(const uint8_t* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// 4 words of each of 4 rows -> 4 rows of each of 4 words; `to` advances 64 bytes per word.
inline void transpose_4x4(const uint8_t* const* rows, size_t at, uint8_t* to) {
    const Words4 a = load_vector<Words4>(rows[0] + at), b = load_vector<Words4>(rows[1] + at);
    const Words4 c = load_vector<Words4>(rows[2] + at), d = load_vector<Words4>(rows[3] + at);
    const Words4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Words4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const Words4 out[4] = {
        __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
        __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
    for (int i = 0; i < 4; ++i) std::memcpy(to + 64 * i, &out[i], 16);
}

// n_words words at byte `at` of 16 rows -> n_words vectors of 64 bytes.
void transpose_words(const uint8_t* const* rows, size_t at, int n_words, uint8_t* to) {
    int w = 0;
    for (; w + 4 <= n_words; w += 4)
        for (int r = 0; r < kPanelRows; r += 4) transpose_4x4(rows + r, at + size_t(4 * w), to + 64 * w + 4 * r);
    for (; w < n_words; ++w)
        for (int r = 0; r < kPanelRows; ++r) std::memcpy(to + 64 * w + 4 * r, rows[r] + at + 4 * w, 4);
}

// 8 halves of each of 8 rows -> 8 rows of each of 8 halves; `to` advances 32 bytes per half.
inline void transpose_8x8(const uint8_t* const* rows, size_t at, uint8_t* to) {
    Halves8 x[8], y[8];
    for (int i = 0; i < 8; ++i) x[i] = load_vector<Halves8>(rows[i] + at);
    // Three rounds of interleaving vector i with vector i + 4 transpose an 8 x 8 square.
    auto round = [](const Halves8* from, Halves8* into) {
        for (int i = 0; i < 4; ++i) {
            into[2 * i] = __builtin_shufflevector(from[i], from[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            into[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
    };
    round(x, y);
    round(y, x);
    round(x, y);
    for (int i = 0; i < 8; ++i) std::memcpy(to + 32 * i, &y[i], 16);
}

void transpose_halves(const uint8_t* const* rows, size_t at, int64_t n, uint8_t* to) {
    int64_t h = 0;
    for (; h + 8 <= n; h += 8)
        for (int r = 0; r < kPanelRows; r += 8) transpose_8x8(rows + r, at + size_t(2 * h), to + 32 * h + 2 * r);
    for (; h < n; ++h)
        for (int r = 0; r < kPanelRows; ++r) std::memcpy(to + 32 * h + 2 * r, rows[r] + at + size_t(2 * h), 2);
}

// Exchanges two bits of the index of a bit: those that `mask` selects move up by `shift`.
constexpr uint32_t swap_index_bits(uint32_t x, uint32_t mask, int shift) {
    const uint32_t t = ((x >> shift) ^ x) & mask;
    return x ^ t ^ (t << shift);
}

// Q5: bit 4g + b of the file's qh -> bit g of byte b. The index rotates by two bits: four exchanges.
constexpr uint32_t regroup_fifth_bits(uint32_t x) {
    x = swap_index_bits(x, 0x0000cccc, 14);
    x = swap_index_bits(x, 0x00aa00aa, 7);
    x = swap_index_bits(x, 0x0c0c0c0c, 2);
    return swap_index_bits(x, 0x22222222, 1);
}
constexpr uint32_t ungroup_fifth_bits(uint32_t x) {
    x = swap_index_bits(x, 0x22222222, 1);
    x = swap_index_bits(x, 0x0c0c0c0c, 2);
    x = swap_index_bits(x, 0x00aa00aa, 7);
    return swap_index_bits(x, 0x0000cccc, 14);
}
static_assert(regroup_fifth_bits(1u << 6) == 1u << 17 && ungroup_fifth_bits(1u << 17) == 1u << 6);

bool has_fifth_bits(WeightKind kind) {
    return kind == WeightKind::kQ5_0 || kind == WeightKind::kQ5_1;
}

// One panel of a block kind.
void pack_blocks(WeightKind kind, const uint8_t* const* rows, int64_t n_blocks, uint8_t* to) {
    const Layout layout = kernels::layout_of(kind);
    uint8_t* halves = to + kernels::halves_offset(kind, n_blocks);
    for (int64_t block = 0; block < n_blocks; ++block) {
        const size_t at = size_t(block) * size_t(layout.file_bytes);
        uint8_t* words = to + block * layout.n_words * 64;
        transpose_words(rows, at + size_t(layout.word_offset), layout.n_words, words);
        if (has_fifth_bits(kind)) {
            for (int r = 0; r < kPanelRows; ++r)
                put_word(words + 4 * r, regroup_fifth_bits(load_le<uint32_t>(words + 4 * r)));
        }
        for (int h = 0; h < layout.n_halves; ++h, halves += 32)
            for (int r = 0; r < kPanelRows; ++r)
                std::memcpy(halves + 2 * r, rows[r] + at + size_t(layout.half_offset + 2 * h), 2);
        if (kind == WeightKind::kMXFP4) {
            for (int r = 0; r < kPanelRows; ++r) halves[r] = rows[r][at];
            halves += kPanelRows;
        }
    }
}

void pack_panel(WeightKind kind, const uint8_t* const* rows, int64_t n_cols, uint8_t* to) {
    switch (kind) {
        case WeightKind::kF32:
            return transpose_words(rows, 0, int(n_cols), to);
        case WeightKind::kF16:
        case WeightKind::kBF16:
            return transpose_halves(rows, 0, n_cols, to);
        default:
            return pack_blocks(kind, rows, n_cols / kernels::layout_of(kind).block_cols, to);
    }
}

}  // namespace

void PackedMatrix::Free::operator()(uint8_t* p) const {
    std::free(p);
}

Result<PackedMatrix> PackedMatrix::pack(const TensorView& tensor, ThreadPool& pool, int64_t index) {
    const auto kind = kind_of(tensor.type);
    if (!kind)
        return fail(ErrorCode::kUnsupported, "{}: type {}, expected one that multiplies", tensor.name,
                    dtype_name_of_number(uint32_t(tensor.type)));
    const Layout layout = kernels::layout_of(*kind);
    const int64_t n_cols = tensor.shape[0], n_rows = tensor.shape[1], n_matrices = tensor.shape[2] * tensor.shape[3];
    if (n_cols < 1 || n_rows < 1 || index < 0 || index >= n_matrices)
        return fail(ErrorCode::kBadArgument, "{}: matrix {} of shape {}, expected one that exists", tensor.name, index,
                    shape_text(tensor));
    if (n_cols % layout.block_cols != 0)
        return fail(ErrorCode::kBadFile, "{}: {} columns, expected a multiple of {}", tensor.name, n_cols,
                    layout.block_cols);
    if (n_cols > kernels::kMaxCols)
        return fail(ErrorCode::kLimit, "{}: {} columns, expected at most {}", tensor.name, n_cols, kernels::kMaxCols);
    const uint64_t row_bytes = uint64_t(n_cols / layout.block_cols) * uint64_t(layout.file_bytes);
    if (uint64_t(n_rows) > tensor.data.size() / row_bytes ||
        uint64_t(index) >= tensor.data.size() / row_bytes / uint64_t(n_rows))
        return fail(ErrorCode::kBadFile, "{}: {} bytes, expected {} rows of {}", tensor.name, tensor.data.size(),
                    n_rows, row_bytes);

    PackedMatrix matrix;
    matrix.type_ = tensor.type;
    matrix.kind_ = *kind;
    matrix.n_rows_ = n_rows;
    matrix.n_cols_ = n_cols;
    matrix.panel_bytes_ = kernels::panel_bytes(*kind, n_cols);
    const size_t total = size_t(matrix.bytes());
    const size_t alignment = total >= kHugePage ? kHugePage : kAlignment;
    matrix.data_.reset(
        static_cast<uint8_t*>(std::aligned_alloc(alignment, (total + alignment - 1) / alignment * alignment)));
    if (!matrix.data_) return fail(ErrorCode::kOutOfMemory, "{}: no memory for {} bytes", tensor.name, total);
#if defined(__linux__)
    if (alignment == kHugePage) madvise(matrix.data_.get(), total, MADV_HUGEPAGE);
#endif

    const uint8_t* from = tensor.data.data() + uint64_t(index) * uint64_t(n_rows) * row_bytes;
    uint8_t* to = matrix.data_.get();
    const int64_t n_panels = matrix.n_panels(), panel_bytes = matrix.panel_bytes_;
    // Tasks of about a megabyte, so that the threads end together.
    const int64_t per_task = std::max<int64_t>(1, (int64_t(1) << 20) / panel_bytes);
    const std::unique_ptr<uint8_t[]> zero_row(n_rows % kPanelRows ? new (std::nothrow) uint8_t[row_bytes]() : nullptr);
    if (n_rows % kPanelRows && !zero_row)
        return fail(ErrorCode::kOutOfMemory, "{}: no memory for {} bytes", tensor.name, row_bytes);
    pool.run(int((n_panels + per_task - 1) / per_task), [&](int task, int) {
        const int64_t end = std::min(n_panels, (task + 1) * per_task);
        for (int64_t panel = task * per_task; panel < end; ++panel) {
            const uint8_t* rows[kPanelRows];
            for (int r = 0; r < kPanelRows; ++r) {
                const int64_t row = panel * kPanelRows + r;
                rows[r] = row < n_rows ? from + uint64_t(row) * row_bytes : zero_row.get();
            }
            const int64_t used = int64_t(row_bytes) * kPanelRows;
            pack_panel(*kind, rows, n_cols, to + panel * panel_bytes);
            std::memset(to + panel * panel_bytes + used, 0, size_t(panel_bytes - used));
        }
    });
    return matrix;
}

void PackedMatrix::unpack_row(int64_t row, float* out) const {
    const Layout layout = kernels::layout_of(kind_);
    const DTypeTraits* traits = dtype_traits(type_);
    const uint8_t* panel = data_.get() + row / kPanelRows * panel_bytes_;
    const int lane = int(row % kPanelRows);
    const int64_t n_blocks = n_cols_ / layout.block_cols;
    const uint8_t* halves = panel + kernels::halves_offset(kind_, n_blocks);
    for (int64_t block = 0; block < n_blocks; ++block, out += layout.block_cols) {
        uint8_t bytes[256];  // the largest file block has 210
        const uint8_t* words = panel + block * layout.n_words * 64;
        for (int w = 0; w < layout.n_words; ++w)
            std::memcpy(bytes + layout.word_offset + 4 * w, words + 64 * w + 4 * lane, 4);
        if (has_fifth_bits(kind_)) {
            uint8_t* qh = bytes + layout.word_offset;
            put_word(qh, ungroup_fifth_bits(load_le<uint32_t>(qh)));
        }
        for (int h = 0; h < layout.n_halves; ++h, halves += 32)
            std::memcpy(bytes + layout.half_offset + 2 * h, halves + 2 * lane, 2);
        if (kind_ == WeightKind::kMXFP4) {
            bytes[0] = halves[lane];
            halves += kPanelRows;
        }
        traits->decode(bytes, out, layout.block_cols);
    }
}

}  // namespace sterna
