// Integers of 2 to 8 bits in 32-bit words: GPTQ, AWQ and compressed-tensors. All stand for scale * (q - zero), with one
// scale and zero point per output and group of inputs; they differ in where the bits lie:
//
//   GPTQ   qweight [in * bits / 32, out]: down each column a stream of bits, the lowest of each word first
//          qzeros  [groups, out * bits / 32]: along each row such a stream; version 1 stores the zero point less one
//          scales  [groups, out]; g_idx [in]: the group of each input (absent: in order)
//   AWQ    qweight [in, out / 8], qzeros [groups, out / 8]: nibble k of a word is output 0 2 4 6 1 3 5 7 [k] of its eight
//          scales  [groups, out]
//   compressed-tensors   weight_packed [out, in * bits / 32]: along each row a stream
//          weight_zero_point [out * bits / 32, groups]: down each column; absent: the middle, 2^(bits - 1)
//          weight_scale [out, groups], weight_shape [2], weight_g_idx as in GPTQ
// Sources: the documentation of AutoGPTQ, AutoAWQ and compressed-tensors; checked against their packers.

#include <algorithm>

#include "convert/unpack.h"
#include "tensor/element_type.h"

namespace sterna {

namespace {

// Unsigned numbers of `bits` bits. Word k of line n lies at n * line_stride + k * word_stride.
struct BitGrid {
    const uint8_t* words = nullptr;
    int64_t line_stride = 0, word_stride = 1;
    int bits = 4;

    uint32_t at(int64_t line, int64_t index) const {
        const int64_t bit = index * bits, word = bit >> 5;
        const int shift = int(bit & 31);
        const uint8_t* from = words + (line * line_stride + word * word_stride) * 4;
        uint32_t value = load_le<uint32_t>(from) >> shift;
        if (shift + bits > 32) value |= load_le<uint32_t>(from + word_stride * 4) << (32 - shift);
        return value & ((1u << bits) - 1);
    }
};

class GroupedIntegers final : public PackedTensor {
public:
    explicit GroupedIntegers(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

    Status read(int64_t first, std::span<float> to) const override {
        return read_as_rectangles(inputs, first, to,
                                  [&](int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* values) {
                                      return read_rectangle(row, n_rows, column, n_columns, values);
                                  });
    }

    // The smallest type that holds it.
    Result<DType> find_exact() const {
        if (!group_of.empty() || group_size % 32 != 0 || inputs % 32 != 0) return DType::kF32;
        if (bits > 4 && bits != 8) return DType::kF32;
        const int middle = 1 << (bits - 1);
        if (zeros.words) {
            for (int64_t group = 0; group < groups; ++group) {
                for (int64_t row = 0; row < outputs; ++row) {
                    if (zero_at(group, row) != middle) return DType::kF32;
                }
            }
        }
        STERNA_TRY(halves, all_values(checkpoint_, *scales, is_half));
        if (!halves) return DType::kF32;
        return bits == 8 ? DType::kQ8_0 : DType::kQ4_0;
    }

    int64_t outputs = 0, inputs = 0, groups = 0, group_size = 0;
    int bits = 4;
    BitGrid weights, zeros;          // zeros.words null: the middle
    bool lines_are_inputs = false;   // AWQ: a line of `weights` is an input
    bool awq_order = false;          // of the outputs within a word
    bool zeros_minus_one = false;    // stored less one
    bool scales_by_output = false;   // [outputs, groups] instead of [groups, outputs]
    std::vector<uint32_t> group_of;  // of each input; empty: inputs in order
    const CheckpointTensor* scales = nullptr;

private:
    static int64_t awq_position(int64_t output) {
        constexpr int8_t kPosition[8] = {0, 4, 1, 5, 2, 6, 3, 7};
        return (output & ~int64_t(7)) | kPosition[output & 7];
    }

    int zero_at(int64_t group, int64_t row) const {
        if (!zeros.words) return 1 << (bits - 1);
        const int stored = int(zeros.at(group, awq_order ? awq_position(row) : row));
        return zeros_minus_one ? (stored + 1) & ((1 << bits) - 1) : stored;
    }

    Status read_rectangle(int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* to) const {
        struct Grid {
            float scale;
            int zero;
        };
        // [groups][n_rows]
        std::vector<Grid> grid(size_t(groups * n_rows));
        std::vector<float> run(size_t(scales_by_output ? groups * n_rows : n_rows));
        if (scales_by_output) STERNA_CHECK(checkpoint_.read(*scales, row * groups, run));
        for (int64_t group = 0; group < groups; ++group) {
            if (!scales_by_output) STERNA_CHECK(checkpoint_.read(*scales, group * outputs + row, run));
            for (int64_t r = 0; r < n_rows; ++r) {
                grid[size_t(group * n_rows + r)] = {run[size_t(scales_by_output ? r * groups + group : r)],
                                                    zero_at(group, row + r)};
            }
        }
        for (int64_t c = 0; c < n_columns; ++c) {
            const int64_t input = column + c;
            const int64_t group = group_of.empty() ? input / group_size : int64_t(group_of[size_t(input)]);
            const Grid* of_rows = grid.data() + group * n_rows;
            for (int64_t r = 0; r < n_rows; ++r) {
                const int64_t output = row + r;
                const uint32_t q = lines_are_inputs ? weights.at(input, awq_order ? awq_position(output) : output)
                                                    : weights.at(output, input);
                to[r * n_columns + c] = of_rows[r].scale * float(int(q) - of_rows[r].zero);
            }
        }
        return {};
    }

    const Checkpoint& checkpoint_;
};

// A matrix of 32-bit words, not an empty one: such a matrix could have any extent beside its zero.
Result<const CheckpointTensor*> words_of(const Checkpoint& checkpoint, const std::string& name) {
    const CheckpointTensor* tensor = checkpoint.find(name);
    if (!tensor) return fail(ErrorCode::kBadFile, "{}: missing", name);
    if (tensor->exact != DType::kI32 || tensor->shape.size() != 2 || tensor->n_elements() < 1 ||
        tensor->stored.size() != size_t(tensor->n_elements()) * 4)
        return fail(ErrorCode::kBadFile, "{}: {} {}, expected a matrix of 32-bit integers", name,
                    dtype_name_of_number(uint32_t(tensor->exact)), shape_text(tensor->shape));
    return tensor;
}

Status set_groups(GroupedIntegers& made, const Checkpoint& checkpoint, const std::string& index_name,
                  const PackingConfig& config) {
    const std::string& name = made.shown.name;
    if (made.outputs < 1 || made.inputs < 1 || made.groups < 1)
        return fail(ErrorCode::kBadFile, "{}: {} outputs, {} inputs in {} groups", name, made.outputs, made.inputs,
                    made.groups);
    made.group_size = made.inputs % made.groups == 0 ? made.inputs / made.groups : config.group_size;
    if (made.group_size < 1 || (made.inputs - 1) / made.group_size != made.groups - 1)
        return fail(ErrorCode::kBadFile, "{}: {} inputs in {} groups of {}", name, made.inputs, made.groups,
                    made.group_size);
    const CheckpointTensor* index = checkpoint.find(index_name);
    if (!index) return {};
    made.parts.push_back(index);
    STERNA_TRY(groups, read_integers(checkpoint, *index));
    if (int64_t(groups.size()) != made.inputs)
        return fail(ErrorCode::kBadFile, "{}: {} entries for {} inputs", index_name, groups.size(), made.inputs);
    bool in_order = true;
    for (int64_t i = 0; i < made.inputs; ++i) {
        const int64_t group = groups[size_t(i)];
        if (group < 0 || group >= made.groups)
            return fail(ErrorCode::kBadFile, "{}: group {} of {}", index_name, group, made.groups);
        in_order = in_order && group == i / made.group_size;
    }
    if (!in_order) made.group_of.assign(groups.begin(), groups.end());
    return {};
}

MadeTensor finish(std::unique_ptr<GroupedIntegers> made) {
    STERNA_TRY(exact, made->find_exact());
    made->shown.exact = exact;
    return made;
}

}  // namespace

MadeTensor make_gptq_or_awq(const Checkpoint& checkpoint, const std::string& base, const PackingConfig& config) {
    STERNA_TRY(qweight, words_of(checkpoint, base + ".qweight"));
    STERNA_TRY(qzeros, words_of(checkpoint, base + ".qzeros"));
    const CheckpointTensor* scales = checkpoint.find(base + ".scales");
    if (!scales || scales->shape.size() != 2 || scales->n_elements() < 1)
        return fail(ErrorCode::kBadFile, "{}.scales: no such matrix", base);
    auto made = std::make_unique<GroupedIntegers>(checkpoint);
    made->parts = {qweight, qzeros, scales};
    made->scales = scales;
    made->groups = scales->shape[0];
    made->outputs = scales->shape[1];
    made->shown.name = base + ".weight";
    const int64_t zero_words = qzeros->shape[1], outputs = std::max(made->outputs, int64_t(1));
    // As many bits as fill the words of a row of zero points.
    made->bits = int(std::clamp(zero_words, int64_t(0), outputs) * 32 / outputs);
    const bool awq = qweight->shape[1] != made->outputs;
    auto mismatch = [&] {
        return fail(ErrorCode::kBadFile, "{}.qweight: {}, with zero points {} and scales {}", base,
                    shape_text(qweight->shape), shape_text(qzeros->shape), shape_text(scales->shape));
    };
    if (made->bits < 2 || made->bits > 8 || outputs * made->bits != zero_words * 32 || qzeros->shape[0] != made->groups)
        return mismatch();
    if (awq) {
        if (made->bits != 4 || qweight->shape[1] * 8 != made->outputs) return mismatch();
        made->inputs = qweight->shape[0];
        made->weights = {qweight->stored.data(), qweight->shape[1], 1, 4};
        made->lines_are_inputs = made->awq_order = true;
    } else {
        if (qweight->shape[0] * 32 % made->bits != 0) return mismatch();
        made->inputs = qweight->shape[0] * 32 / made->bits;
        made->weights = {qweight->stored.data(), 1, made->outputs, made->bits};
        made->zeros_minus_one = config.zeros_minus_one;
    }
    made->zeros = {qzeros->stored.data(), zero_words, 1, made->bits};
    STERNA_CHECK(set_groups(*made, checkpoint, base + ".g_idx", config));
    made->shown.shape = {made->outputs, made->inputs};
    return finish(std::move(made));
}

MadeTensor make_compressed_integers(const Checkpoint& checkpoint, const std::string& base,
                                    const PackingConfig& config) {
    STERNA_TRY(packed, words_of(checkpoint, base + ".weight_packed"));
    const CheckpointTensor* scale = checkpoint.find(base + ".weight_scale");
    const CheckpointTensor* shape = checkpoint.find(base + ".weight_shape");
    if (!scale || scale->shape.size() > 2 || !shape || shape->n_elements() != 2)
        return fail(ErrorCode::kBadFile, "{}.weight_packed: without weight_scale or weight_shape", base);
    STERNA_TRY(extents, read_integers(checkpoint, *shape));
    auto made = std::make_unique<GroupedIntegers>(checkpoint);
    made->parts = {packed, scale, shape};
    made->shown.name = base + ".weight";
    made->scales = scale;
    made->scales_by_output = true;
    made->outputs = extents[0];
    made->inputs = extents[1];
    made->groups = scale->shape.size() == 2 ? scale->shape[1] : 1;
    auto mismatch = [&] {
        return fail(ErrorCode::kBadFile, "{}.weight_packed: {} for a matrix {} with scales {}", base,
                    shape_text(packed->shape), shape_text(extents), shape_text(scale->shape));
    };
    if (packed->shape[0] != made->outputs || made->inputs < 1 || made->groups < 1 ||
        scale->n_elements() != made->outputs * made->groups)
        return mismatch();
    // The fewest bits that need so many words a row; a short row may leave a choice, and then 4 or 8 it is.
    const int64_t words = packed->shape[1];
    auto fills = [&](int64_t bits) { return (made->inputs * bits + 31) / 32 == words; };
    for (int bits : {4, 8, 2, 3, 5, 6, 7, 0}) {
        made->bits = bits;
        if (bits == 0) return mismatch();
        if (made->inputs <= words * 16 && fills(bits)) break;
    }
    made->weights = {packed->stored.data(), words, 1, made->bits};
    if (const CheckpointTensor* zeros = checkpoint.find(base + ".weight_zero_point")) {
        STERNA_TRY(zero_words, words_of(checkpoint, zeros->name));
        if (zero_words->shape[0] != (made->outputs * made->bits + 31) / 32 || zero_words->shape[1] != made->groups)
            return fail(ErrorCode::kBadFile, "{}: {} for {} outputs in {} groups", zeros->name,
                        shape_text(zeros->shape), made->outputs, made->groups);
        made->zeros = {zero_words->stored.data(), 1, made->groups, made->bits};
        made->parts.push_back(zero_words);
    }
    STERNA_CHECK(set_groups(*made, checkpoint, base + ".weight_g_idx", config));
    made->shown.shape = {made->outputs, made->inputs};
    return finish(std::move(made));
}

}  // namespace sterna
