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
#if defined(__linux__)
constexpr size_t kLargePage = size_t(2) << 20;
// What is left of the last chunk is never touched, and so takes no memory.
constexpr size_t kChunkBytes = size_t(64) << 20;
#endif

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
using Words16 = uint32_t __attribute__((vector_size(64), may_alias));  // a word of each row of a panel

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

// Q6_K in the file: 32 words of low nibbles, 16 of high bits, 4 of scales. Where the four columns of step i of run r
// (matmul_formats.inl) have theirs:
constexpr int kQ6Words = 52, kQ6Scales = 48;
constexpr int q6_low(int run, int i) {
    return 16 * (run / 2) + 4 * (run % 2) + i;  // of planes 0 and 2; 8 words on, of planes 1 and 3
}
constexpr int q6_high(int run, int i) {
    return 32 + 8 * (run / 2) + 4 * (run % 2) + i;
}

// Packed, three of the four six-bit columns lie in three words' low bits, and the fourth in what is left above them, two
// bits a word: fewer instructions to take apart.
inline void join_six_bits(const Words16& x, const Words16& y, const Words16& high, Words16* to) {
    constexpr uint32_t low = 0x0f0f0f0f, two = 0x03030303;
    const Words16 last = ((y >> 4) & low) | ((high >> 6) & two) << 4;
    to[0] = (x & low) | (high & two) << 4 | (last & two) << 6;
    to[1] = (y & low) | ((high >> 2) & two) << 4 | ((last >> 2) & two) << 6;
    to[2] = ((x >> 4) & low) | ((high >> 4) & two) << 4 | ((last >> 4) & two) << 6;
}
inline void split_six_bits(const uint32_t* from, uint32_t& x, uint32_t& y, uint32_t& high) {
    constexpr uint32_t low = 0x0f0f0f0f, two = 0x03030303;
    const uint32_t last = ((from[0] >> 6) & two) | ((from[1] >> 6) & two) << 2 | ((from[2] >> 6) & two) << 4;
    x = (from[0] & low) | (from[2] & low) << 4;
    y = (from[1] & low) | (last & low) << 4;
    high =
        ((from[0] >> 4) & two) | ((from[1] >> 4) & two) << 2 | ((from[2] >> 4) & two) << 4 | ((last >> 4) & two) << 6;
}

// Packed: scales, then three words per step of each run, in the order of their use.
void regroup_q6(Words16* words) {
    Words16 file[kQ6Words];
    std::memcpy(file, words, sizeof file);
    for (int i = 0; i < 4; ++i) words[i] = file[kQ6Scales + i];
    for (int step = 0; step < 16; ++step) {
        const int low = q6_low(step / 4, step % 4);
        join_six_bits(file[low], file[low + 8], file[q6_high(step / 4, step % 4)], words + 4 + 3 * step);
    }
}
void ungroup_q6(uint8_t* row) {
    uint32_t packed[kQ6Words], words[kQ6Words];
    std::memcpy(packed, row, sizeof packed);
    for (int i = 0; i < 4; ++i) words[kQ6Scales + i] = packed[i];
    for (int step = 0; step < 16; ++step) {
        const int low = q6_low(step / 4, step % 4);
        split_six_bits(packed + 4 + 3 * step, words[low], words[low + 8], words[q6_high(step / 4, step % 4)]);
    }
    std::memcpy(row, words, sizeof words);
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
        if (kind == WeightKind::kQ6_K) regroup_q6(reinterpret_cast<Words16*>(words));
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

std::shared_ptr<uint8_t> PackArena::allocate(size_t bytes) {
    const auto rounded = [bytes](size_t unit) { return (bytes + unit - 1) / unit * unit; };
    const auto own = [](uint8_t* p) { return std::shared_ptr<uint8_t>(p, [](uint8_t* q) { std::free(q); }); };
    const size_t wanted = rounded(kAlignment);
#if defined(__linux__)
    if (wanted > size_ - used_) {
        const size_t size = std::max(kChunkBytes, rounded(kLargePage));
        chunk_ = own(static_cast<uint8_t*>(std::aligned_alloc(kLargePage, size)));
        used_ = 0;
        size_ = chunk_ ? size : 0;
        if (!chunk_) return nullptr;
        madvise(chunk_.get(), size, MADV_HUGEPAGE);  // advice: a refusal changes nothing
    }
    uint8_t* const data = chunk_.get() + used_;
    used_ += wanted;
    return {chunk_, data};
#else
    return own(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, wanted)));
#endif
}

Result<PackedMatrix> PackedMatrix::pack(const TensorView& tensor, ThreadPool& pool, PackArena& arena, int64_t index) {
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
    const std::shared_ptr<uint8_t> data = arena.allocate(size_t(matrix.bytes()));
    if (!data) return fail(ErrorCode::kOutOfMemory, "{}: no memory for {} bytes", tensor.name, matrix.bytes());
    matrix.data_ = data;

    const uint8_t* from = tensor.data.data() + uint64_t(index) * uint64_t(n_rows) * row_bytes;
    uint8_t* to = data.get();
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
        if (kind_ == WeightKind::kQ6_K) ungroup_q6(bytes);
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
