// A model on its way into a GGUF file: final tensor names and shapes, values on demand. The converter makes one from a
// checkpoint, the quantizer from a GGUF file; write_model() (model_writer.h) takes either.
// Immutable after opening; read() may be called from many threads at once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "format/gguf.h"
#include "tensor/dtype.h"

namespace sterna {

struct SourceTensor {
    std::string name;            // GGUF's: "blk.0.attn_q.weight"
    std::vector<int64_t> shape;  // fastest dimension first, as GGUF stores it
    // The smallest type that holds the source's values without loss, and what a plain copy writes.
    DType exact = DType::kF32;
    // Not empty: the values lie here as `exact`. Lifetime: the source's.
    Bytes stored;

    int64_t row_elements() const { return shape.empty() ? 1 : shape[0]; }
    int64_t n_rows() const {
        int64_t n = 1;
        for (size_t i = 1; i < shape.size(); ++i) n *= shape[i];
        return n;
    }
};

class ModelSource {
public:
    virtual ~ModelSource() = default;

    // Sets every metadata key of the result except general.file_type and general.quantization_version.
    virtual Status write_metadata(GgufWriter& writer) const = 0;
    virtual std::span<const SourceTensor> tensors() const = 0;  // in the order in which they are to be written
    // Rows [first, first + n) of shape[0] values each; `to` holds them all. Requires: inside the tensor.
    virtual Status read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const = 0;
    // The tensor has been written: its memory may go.
    virtual void release(const SourceTensor&) const {}
    // The bytes that reading every tensor takes from the source, for progress and speed.
    virtual uint64_t source_bytes() const = 0;
    // Changes when the source's files do (paths, sizes and times of change): an interrupted write of another source is
    // not gone on with.
    virtual std::string identity() const { return {}; }
};

}  // namespace sterna
