// Packed matrices of quantized checkpoints, each shown as the plain matrix it stands for. unpack.cpp recognises them by
// the names and shapes of their parts; the makers below check the parts and say what is missing. Private to convert/.
// Immutable after making; read() may be called from many threads at once.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "convert/checkpoint.h"

namespace sterna {

// What config.json's quantization_config says that the tensors themselves do not.
struct PackingConfig {
    std::string method;                             // "gptq", "awq", "fp8", "compressed-tensors"...; empty: not said
    bool zeros_minus_one = true;                    // GPTQ's first version stores zero points less one
    int64_t group_size = 0;                         // 0: not said
    int64_t block_rows = 128, block_columns = 128;  // of FP8 scales
    bool divide_by_scale = false;                   // BitNet: the scale is a divisor
};

class PackedTensor {
public:
    virtual ~PackedTensor() = default;
    virtual Status read(int64_t first, std::span<float> to) const = 0;

    CheckpointTensor shown;                      // under the plain name
    std::vector<const CheckpointTensor*> parts;  // what release() gives back
};

using MadeTensor = Result<std::unique_ptr<PackedTensor>>;

// `base` is the module's name, "model.layers.0.self_attn.q_proj"; `checkpoint` outlives the result.
// BASE.qweight, BASE.qzeros, BASE.scales and maybe BASE.g_idx; shown as BASE.weight.
MadeTensor make_gptq_or_awq(const Checkpoint& checkpoint, const std::string& base, const PackingConfig& config);
// BASE.weight_packed (integers in words), weight_scale, weight_shape, maybe weight_zero_point and weight_g_idx; or 4-bit
// floats in bytes with weight_scale and maybe weight_global_scale.
MadeTensor make_compressed(const Checkpoint& checkpoint, const std::string& base, const PackingConfig& config);
MadeTensor make_compressed_integers(const Checkpoint& checkpoint, const std::string& base, const PackingConfig& config);
// NAME (8-bit floats or integers) times SCALE, one for all, per row, or per block; shown as NAME.
MadeTensor make_scaled(const Checkpoint& checkpoint, const CheckpointTensor& values, const CheckpointTensor& scale,
                       const CheckpointTensor* zeros, const PackingConfig& config);
// BASE_blocks and BASE_scales of gpt-oss's experts; shown as BASE, transposed as the unpacked checkpoints have it.
MadeTensor make_mxfp4_experts(const Checkpoint& checkpoint, const std::string& base);
// NAME (four ternary values a byte) and its scale, as BitNet's; shown as NAME.
MadeTensor make_ternary(const Checkpoint& checkpoint, const CheckpointTensor& packed, const CheckpointTensor& scale,
                        const PackingConfig& config);
// BASE.weight (two E2M1 values a byte), weight_scale per 16, weight_scale_2; shown as BASE.weight.
MadeTensor make_nvfp4(const Checkpoint& checkpoint, const std::string& base);

// ---- For the makers.

// Cuts elements [first, first + to.size()) of a matrix with `columns` columns into rectangles of whole rows (as many as
// kTileRows) and parts of one row: rect(row, n_rows, column, n_columns, values).
constexpr int64_t kTileRows = 32;
Status read_as_rectangles(int64_t columns, int64_t first, std::span<float> to,
                          const std::function<Status(int64_t, int64_t, int64_t, int64_t, float*)>& rect);

// Whether all values of a tensor, at most `limit` at a time in memory, satisfy `holds`.
Result<bool> all_values(const Checkpoint& checkpoint, const CheckpointTensor& tensor,
                        const std::function<bool(float)>& holds);
bool is_half(float value);          // a finite IEEE half, exactly
bool is_power_of_two(float value);  // a positive one, far from the ends of the range

// An integer tensor of at most 2^24 values, whole. Errors: another type.
Result<std::vector<int64_t>> read_integers(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

}  // namespace sterna
