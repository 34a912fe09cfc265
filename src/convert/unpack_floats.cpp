// Small floats with scales: FP8 (and int8) matrices, MXFP4, NVFP4, and the ternary matrices of BitNet.
//
//   FP8       weight [.., rows, columns], weight_scale_inv or weight_scale: one, one per row, or one per block of
//             128 x 128; the value is their product, whatever the name says
//   MXFP4     gpt-oss: NAME_blocks u8 [experts, rows, groups, 16], NAME_scales u8 [experts, rows, groups]; byte b of a
//             group holds elements 2b (low nibble) and 2b + 1, E2M1, times 2^(scale - 127). Unpacked checkpoints have
//             these matrices transposed, [experts, columns, rows], so that is how they are shown
//             compressed-tensors: weight_packed u8 [rows, columns / 2], weight_scale u8 [rows, columns / 32]
//   NVFP4     E2M1 in pairs as above, a scale of E4M3 per 16 values, and one F32 for all: weight_global_scale divides
//             (compressed-tensors), weight_scale_2 multiplies (ModelOpt)
//   BitNet    weight u8 [rows / 4, columns]: bits 2k..2k+1 of row j are row k * rows / 4 + j, plus one
// Sources: transformers' integrations of mxfp4 and bitnet, compressed-tensors; checked against them.

#include <algorithm>
#include <cmath>

#include "convert/unpack.h"
#include "tensor/dtype_blocks.h"
#include "tensor/element_type.h"

namespace sterna {

namespace {

// Bytes are shown by read() as the numbers 0 to 255.
Status read_bytes(const Checkpoint& checkpoint, const CheckpointTensor& tensor, int64_t first, std::span<float> floats,
                  std::span<uint8_t> to) {
    STERNA_CHECK(checkpoint.read(tensor, first, floats.first(to.size())));
    for (size_t i = 0; i < to.size(); ++i) {
        const float value = floats[i];
        if (!(value >= 0.0f && value <= 255.0f)) return fail(ErrorCode::kBadFile, "{}: not bytes", tensor.name);
        to[i] = uint8_t(value);
    }
    return {};
}

// Code 8 is a negative zero, which integers lack.
float e2m1(uint8_t nibble) {
    return (nibble & 15) == 8 ? -0.0f : float(kMxfp4Doubled[nibble & 15]) * 0.5f;
}

// Bytes never come as stored values of a GGUF type (CheckpointTensor::exact).
bool may_be_bytes(const CheckpointTensor& tensor) {
    return tensor.exact == DType::kF16 && tensor.stored.empty();
}

// ---- Values times scales.

class Scaled final : public PackedTensor {
public:
    Scaled(const Checkpoint& checkpoint, const CheckpointTensor& values, const CheckpointTensor& scale,
           const CheckpointTensor* zeros)
        : checkpoint_(checkpoint), values_(values), scale_(scale), zeros_(zeros) {}

    Status read(int64_t first, std::span<float> to) const override {
        STERNA_CHECK(checkpoint_.read(values_, first, to));
        std::vector<float> scales(static_cast<size_t>(blocks_across)), zeros(zeros_ ? scales.size() : 0);
        for (size_t done = 0; done < to.size();) {
            const int64_t at = first + int64_t(done), row = at / columns, column = at % columns;
            const size_t n = std::min(size_t(columns - column), to.size() - done);
            const int64_t matrix = row / rows, block_row = (row % rows) / block_rows;
            const int64_t scale_at = (matrix * blocks_down + block_row) * blocks_across;
            STERNA_CHECK(checkpoint_.read(scale_, scale_at, scales));
            if (zeros_) STERNA_CHECK(checkpoint_.read(*zeros_, scale_at, zeros));
            for (size_t i = 0; i < n; ++i) {
                const size_t block = size_t((column + int64_t(i)) / block_columns);
                float& value = to[done + i];
                value = zeros_ ? (value - zeros[block]) * scales[block] : value * scales[block];
            }
            done += n;
        }
        return {};
    }

    int64_t rows = 1, columns = 1;
    int64_t blocks_down = 1, blocks_across = 1;
    int64_t block_rows = 1, block_columns = 1;

private:
    const Checkpoint& checkpoint_;
    const CheckpointTensor& values_;
    const CheckpointTensor& scale_;
    const CheckpointTensor* zeros_;
};

// How many of `extent` share one of `blocks` scales.
int64_t block_extent(int64_t extent, int64_t blocks, int64_t usual) {
    if (blocks == 1) return extent;
    if (blocks == extent) return 1;
    if (usual > 0 && (extent - 1) / usual == blocks - 1) return usual;
    return blocks > 0 && extent % blocks == 0 ? extent / blocks : 0;
}

// ---- Pairs of 4-bit floats along a row.

class Fp4Rows final : public PackedTensor {
public:
    Fp4Rows(const Checkpoint& checkpoint, const CheckpointTensor& packed, const CheckpointTensor& scale)
        : checkpoint_(checkpoint), packed_(packed), scale_(scale) {}

    Status read(int64_t first, std::span<float> to) const override {
        return read_as_rectangles(columns, first, to,
                                  [&](int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* values) {
                                      return read_rows(row, n_rows, column, n_columns, values);
                                  });
    }

    int64_t columns = 0, group = 16;
    bool byte_scales = false;  // E8M0 in bytes
    float factor = 1.0f, divisor = 1.0f;

private:
    Status read_rows(int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* to) const {
        const int64_t width = columns / 2, groups = columns / group;
        std::vector<float> floats(static_cast<size_t>(std::max(width, groups)));
        std::vector<uint8_t> bytes(static_cast<size_t>(width)), exponents(static_cast<size_t>(groups));
        std::vector<float> scales(static_cast<size_t>(groups));
        for (int64_t r = row; r < row + n_rows; ++r) {
            STERNA_CHECK(read_bytes(checkpoint_, packed_, r * width, floats, bytes));
            if (byte_scales) {
                STERNA_CHECK(read_bytes(checkpoint_, scale_, r * groups, floats, exponents));
                for (size_t g = 0; g < scales.size(); ++g) scales[g] = e8m0_to_float(exponents[g]);
            } else {
                STERNA_CHECK(checkpoint_.read(scale_, r * groups, scales));
            }
            for (int64_t c = column; c < column + n_columns; ++c) {
                const uint8_t pair = bytes[size_t(c / 2)];
                const float scale = scales[size_t(c / group)] * factor / divisor;
                *to++ = e2m1(c % 2 == 0 ? pair : pair >> 4) * scale;
            }
        }
        return {};
    }

    const Checkpoint& checkpoint_;
    const CheckpointTensor& packed_;
    const CheckpointTensor& scale_;
};

// ---- gpt-oss's experts, transposed.

class Mxfp4Experts final : public PackedTensor {
public:
    Mxfp4Experts(const Checkpoint& checkpoint, const CheckpointTensor& blocks, const CheckpointTensor& scales)
        : checkpoint_(checkpoint), blocks_(blocks), scales_(scales) {}

    // Shown: row (expert, input), column output. The blocks of an output lie along the inputs.
    Status read(int64_t first, std::span<float> to) const override {
        return read_as_rectangles(outputs, first, to,
                                  [&](int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* values) {
                                      return read_rectangle(row, n_rows, column, n_columns, values);
                                  });
    }

    int64_t outputs = 0, groups = 0;  // groups of 32 inputs

private:
    Status read_rectangle(int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* to) const {
        float floats[16];
        uint8_t bytes[16], exponent;
        for (int64_t done = 0; done < n_rows;) {
            const int64_t expert = (row + done) / (groups * 32), input = (row + done) % (groups * 32);
            const int64_t group = input / 32, in_group = input % 32;
            const int64_t n = std::min(n_rows - done, 32 - in_group);
            for (int64_t c = 0; c < n_columns; ++c) {
                const int64_t block = (expert * outputs + column + c) * groups + group;
                STERNA_CHECK(read_bytes(checkpoint_, blocks_, block * 16, floats, bytes));
                STERNA_CHECK(read_bytes(checkpoint_, scales_, block, floats, std::span(&exponent, 1)));
                const float scale = e8m0_to_float(exponent);
                for (int64_t i = 0; i < n; ++i) {
                    const int64_t element = in_group + i;
                    const uint8_t pair = bytes[element / 2];
                    to[(done + i) * n_columns + c] = e2m1(element % 2 == 0 ? pair : pair >> 4) * scale;
                }
            }
            done += n;
        }
        return {};
    }

    const Checkpoint& checkpoint_;
    const CheckpointTensor& blocks_;
    const CheckpointTensor& scales_;
};

// ---- BitNet.

class Ternary final : public PackedTensor {
public:
    Ternary(const Checkpoint& checkpoint, const CheckpointTensor& packed) : checkpoint_(checkpoint), packed_(packed) {}

    Status read(int64_t first, std::span<float> to) const override {
        const int64_t columns = packed_.shape[1], packed_rows = packed_.shape[0];
        std::vector<float> floats(static_cast<size_t>(columns));
        std::vector<uint8_t> bytes(floats.size());
        for (size_t done = 0; done < to.size();) {
            const int64_t at = first + int64_t(done), row = at / columns, column = at % columns;
            const size_t n = std::min(size_t(columns - column), to.size() - done);
            const int shift = 2 * int(row / packed_rows);
            STERNA_CHECK(read_bytes(checkpoint_, packed_, row % packed_rows * columns + column, floats,
                                    std::span(bytes).first(n)));
            for (size_t i = 0; i < n; ++i) to[done + i] = float(((bytes[i] >> shift) & 3) - 1) * scale;
            done += n;
        }
        return {};
    }

    float scale = 1.0f;

private:
    const Checkpoint& checkpoint_;
    const CheckpointTensor& packed_;
};

std::unexpected<Error> unfitting(const CheckpointTensor& values, const CheckpointTensor& scale) {
    return fail(ErrorCode::kBadFile, "{}: {} with scales {}", values.name, shape_text(values.shape),
                shape_text(scale.shape));
}

MadeTensor make_fp4(const Checkpoint& checkpoint, const CheckpointTensor& packed, const std::string& base) {
    const CheckpointTensor* scale = checkpoint.find(base + ".weight_scale");
    if (!scale) return fail(ErrorCode::kBadFile, "{}.weight_scale: missing", base);
    if (!may_be_bytes(packed) || packed.shape.size() != 2 || scale->shape.size() != 2 ||
        scale->shape[0] != packed.shape[0] || packed.n_elements() < 1 || scale->n_elements() < 1 ||
        packed.shape[1] % scale->shape[1] != 0)
        return unfitting(packed, *scale);
    auto made = std::make_unique<Fp4Rows>(checkpoint, packed, *scale);
    made->columns = packed.shape[1] * 2;
    made->group = made->columns / scale->shape[1];
    made->parts = {&packed, scale};
    made->byte_scales = made->group == 32 && may_be_bytes(*scale);
    made->shown = {base + ".weight", {packed.shape[0], made->columns}, DType::kF32, {}};
    if (made->group != 16 && made->group != 32) return unfitting(packed, *scale);
    if (made->group == 32) {
        STERNA_TRY(powers, made->byte_scales ? Result<bool>(true) : all_values(checkpoint, *scale, is_power_of_two));
        if (powers) made->shown.exact = DType::kMXFP4;
        return made;
    }
    for (const char* suffix : {".weight_global_scale", ".weight_scale_2"}) {
        const CheckpointTensor* global = checkpoint.find(base + suffix);
        if (!global) continue;
        if (global->n_elements() != 1) return unfitting(packed, *global);
        float value = 0.0f;
        STERNA_CHECK(checkpoint.read(*global, 0, std::span(&value, 1)));
        if (!std::isfinite(value) || value == 0.0f) return fail(ErrorCode::kBadFile, "{}: {}", global->name, value);
        (suffix == std::string_view(".weight_scale_2") ? made->factor : made->divisor) = value;
        made->parts.push_back(global);
    }
    return made;
}

}  // namespace

MadeTensor make_scaled(const Checkpoint& checkpoint, const CheckpointTensor& values, const CheckpointTensor& scale,
                       const CheckpointTensor* zeros, const PackingConfig& config) {
    auto made = std::make_unique<Scaled>(checkpoint, values, scale, zeros);
    made->parts = {&values, &scale};
    if (zeros) made->parts.push_back(zeros);
    made->shown = {values.name, values.shape, DType::kF32, {}};
    if (!may_be_bytes(values) && values.exact != DType::kI8)
        return fail(ErrorCode::kUnsupported, "{}: has scales, but is {}, neither FP8 nor int8", values.name,
                    dtype_name_of_number(uint32_t(values.exact)));
    if (values.shape.empty() || values.n_elements() < 1 || scale.n_elements() < 1) return unfitting(values, scale);
    const size_t rank = values.shape.size();
    made->columns = values.shape[rank - 1];
    made->rows = rank > 1 ? values.shape[rank - 2] : 1;
    const int64_t matrices = values.n_elements() / (made->rows * made->columns);
    // Scales as [matrices, blocks_down, blocks_across].
    if (scale.shape.size() >= 2 && rank >= 2) {
        made->blocks_down = scale.shape[scale.shape.size() - 2];
        made->blocks_across = scale.shape.back();
    } else if (scale.n_elements() == matrices * made->rows) {
        made->blocks_down = made->rows;
    }
    made->block_rows = block_extent(made->rows, made->blocks_down, config.block_rows);
    made->block_columns = block_extent(made->columns, made->blocks_across, config.block_columns);
    if (scale.n_elements() == 1 && matrices > 1) {
        made->rows *= matrices;
        made->block_rows = made->rows;
    } else if (scale.n_elements() != matrices * made->blocks_down * made->blocks_across) {
        return unfitting(values, scale);
    }
    if (made->block_rows < 1 || made->block_columns < 1) return unfitting(values, scale);
    if (zeros && zeros->n_elements() != scale.n_elements()) return unfitting(values, *zeros);
    if (!zeros) {
        // Four bits of mantissa times a power of two.
        STERNA_TRY(powers, all_values(checkpoint, scale, is_power_of_two));
        if (powers) made->shown.exact = DType::kBF16;
        if (values.exact == DType::kI8) {
            STERNA_TRY(halves, all_values(checkpoint, scale, is_half));
            const bool aligned = made->columns % 32 == 0 && made->block_columns % 32 == 0;
            if (halves && aligned) made->shown.exact = DType::kQ8_0;
        }
    }
    return made;
}

MadeTensor make_mxfp4_experts(const Checkpoint& checkpoint, const std::string& base) {
    const CheckpointTensor &blocks = *checkpoint.find(base + "_blocks"), &scales = *checkpoint.find(base + "_scales");
    if (!may_be_bytes(blocks) || !may_be_bytes(scales) || blocks.shape.size() != 4 || scales.shape.size() != 3 ||
        blocks.shape[3] != 16 || !std::equal(scales.shape.begin(), scales.shape.end(), blocks.shape.begin()) ||
        blocks.n_elements() < 1)
        return unfitting(blocks, scales);
    auto made = std::make_unique<Mxfp4Experts>(checkpoint, blocks, scales);
    made->outputs = blocks.shape[1];
    made->groups = blocks.shape[2];
    made->parts = {&blocks, &scales};
    made->shown = {base, {blocks.shape[0], made->groups * 32, made->outputs}, DType::kMXFP4, {}};
    return made;
}

MadeTensor make_ternary(const Checkpoint& checkpoint, const CheckpointTensor& packed, const CheckpointTensor& scale,
                        const PackingConfig& config) {
    if (!may_be_bytes(packed) || packed.shape.size() != 2 || packed.n_elements() < 1 || scale.n_elements() != 1)
        return unfitting(packed, scale);
    auto made = std::make_unique<Ternary>(checkpoint, packed);
    made->parts = {&packed, &scale};
    made->shown = {packed.name, {packed.shape[0] * 4, packed.shape[1]}, DType::kF32, {}};
    STERNA_CHECK(checkpoint.read(scale, 0, std::span(&made->scale, 1)));
    if (!std::isfinite(made->scale) || made->scale == 0.0f)
        return fail(ErrorCode::kBadFile, "{}: {}", scale.name, made->scale);
    if (config.divide_by_scale) made->scale = 1.0f / made->scale;
    if (is_half(made->scale)) made->shown.exact = packed.shape[1] % 256 == 0 ? DType::kTQ2_0 : DType::kF16;
    return made;
}

MadeTensor make_nvfp4(const Checkpoint& checkpoint, const std::string& base) {
    return make_fp4(checkpoint, *checkpoint.find(base + ".weight"), base);
}

MadeTensor make_compressed(const Checkpoint& checkpoint, const std::string& base, const PackingConfig& config) {
    const CheckpointTensor& packed = *checkpoint.find(base + ".weight_packed");
    if (may_be_bytes(packed)) return make_fp4(checkpoint, packed, base);
    return make_compressed_integers(checkpoint, base, config);
}

}  // namespace sterna
