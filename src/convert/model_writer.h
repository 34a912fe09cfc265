// Writes a model to a GGUF file, tensor by tensor: rows are read, encoded on all threads and written in chunks, so that
// memory stays bounded whatever the model's size.
//
// Until it is whole, the file is `PATH.partial`, with `PATH.partial.journal` beside it. A write that was killed, cancelled
// or ran out of disk leaves both; the same call goes on after the last whole tensor and gives the same bytes as one that
// was never interrupted. A call with other types, another source or another importance starts afresh.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/model_source.h"
#include "convert/type_plan.h"

namespace sterna {

// Turns rows into blocks in another way than the type's own encoder; used where a calibration knows more than one
// weight per column. Called from many threads at once.
class RowEncoder {
public:
    virtual ~RowEncoder() = default;
    // False: the type's own encoder is to be used.
    virtual bool handles(const SourceTensor& tensor, DType type) const = 0;
    // Rows [first, first + n), as floats in `from`, to blocks in `to`.
    virtual void encode(const SourceTensor& tensor, DType type, int64_t first, int64_t n, std::span<const float> from,
                        std::span<uint8_t> to) const = 0;
    // Says what encode() does differently: two encoders of equal identity give equal bytes.
    virtual std::string identity() const = 0;
};

struct WriteProgress {
    uint64_t done_bytes = 0, total_bytes = 0;  // of the source
    std::string_view tensor;                   // the one being written
};

struct WriteOptions {
    // The weights of a tensor's columns (shape[0] of them, for a tensor of experts shape[0] * shape[2]): mean square
    // activations. Empty: none are known. Null: none are known of any tensor.
    std::function<std::span<const float>(const SourceTensor&)> importance;
    std::string importance_identity;  // e.g. the SHA-256 of the importance file: part of what a resumed call must match
    const RowEncoder* encoder = nullptr;
    std::function<void(const WriteProgress&)> progress;  // on the caller's thread
    const std::atomic<bool>* cancel = nullptr;
    uint64_t max_part_bytes = 0;  // above 0: several files, as in GgufWriter
    bool measure_error = true;    // decode what was encoded, for TensorReport::rmse
    bool resume = true;           // false: starts afresh whatever is there
};

struct TensorReport {
    std::string name;
    DType from, type;
    uint64_t n_bytes = 0;
    std::string sha256;     // of the bytes in the file
    double rmse = 0.0;      // root mean square error, over rows spread evenly
    double relative = 0.0;  // the same over the root mean square of the values
    bool finite = true;     // false: a value of the source is infinite or no number
};

struct WriteReport {
    std::vector<std::string> paths;
    std::vector<TensorReport> tensors;
    uint64_t source_bytes = 0, file_bytes = 0;
    int64_t n_resumed = 0;  // tensors that an earlier call had written
};

// Errors: kCancelled and kIo leave the partial file for the next call, and say so.
Result<WriteReport> write_model(const ModelSource& source, const TypePlan& plan, const std::string& path,
                                ThreadPool& pool, const WriteOptions& options = {});

}  // namespace sterna
