// A checkpoint as its makers published it: tensors under the source's own names, in the source's shapes, whatever file
// they lie in. Readers of one format each implement it; what is stored quantized (GPTQ, AWQ, block-scaled FP8, MXFP4) is
// shown as the plain matrix it stands for, so the code that names and writes tensors sees values only.
// Immutable after opening; read() may be called from many threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace sterna {

class GgufWriter;

struct CheckpointTensor {
    std::string name;            // "model.layers.0.self_attn.q_proj.weight"
    std::vector<int64_t> shape;  // slowest dimension first, as PyTorch prints it: [n_out, n_in]
    // The smallest of F32, F16, BF16 (and, for blocks along the last dimension that GGUF has too, Q8_0, Q4_0, MXFP4...)
    // that holds these values without loss. Integers of 8 (signed), 16, 32 and 64 bits are kI8, kI16, kI32, kI64, always
    // `stored`; what has no type here (unsigned bytes, booleans, 8-bit floats) is shown by read() alone, as F16.
    // MXFP4 experts (gpt-oss) are shown as their unpacked checkpoints have them, [experts, in, out], and their blocks lie
    // along the inputs: it is the transposed matrix that MXFP4 holds.
    DType exact = DType::kF32;
    // Not empty: the values lie here, row-major, as `exact` (dtype_bytes() of them). Lifetime: the checkpoint's.
    Bytes stored;

    int64_t n_elements() const;
};

class Checkpoint {
public:
    virtual ~Checkpoint() = default;

    virtual std::span<const CheckpointTensor> tensors() const = 0;  // in file order
    virtual const CheckpointTensor* find(std::string_view name) const = 0;
    // Values [first, first + to.size()) of the tensor, row-major. Requires: inside the tensor.
    virtual Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const = 0;
    // The tensor will not be read again soon: its memory may go.
    virtual void release(const CheckpointTensor&) const {}

    // The text of the config.json that belongs to it, where the file itself holds the configuration (llama2.c). Empty:
    // look for one beside it.
    virtual std::string config_json() const { return {}; }
    // Sets the tokenizer.* keys, where the format has a tokenizer file of its own (llama2.c's tokenizer.bin). Returns:
    // false when there is none: look for a tokenizer beside it.
    virtual Result<bool> write_tokenizer(GgufWriter&) const { return false; }
};

// Opens what `path` is: a folder (safetensors with or without an index, else PyTorch .bin with or without one, else
// ONNX), or one file of these kinds, or a llama2.c .bin. Errors name the file and what is wrong with it.
Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path);

// Shows a checkpoint's GPTQ, AWQ, block-scaled FP8 and MXFP4 tensors as the matrices they stand for. `config_json` is
// the text of its config.json (empty: none), whose quantization_config says how they are packed. Unchanged when nothing is packed.
Result<std::unique_ptr<Checkpoint>> unpack_checkpoint(std::unique_ptr<Checkpoint> packed, std::string_view config_json);

}  // namespace sterna
