// Safetensors: reader of one file's bytes, and writer.
//
//   u64 n | n bytes of JSON: {"NAME": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//         "__metadata__": {"format": "pt"}} | data, at offsets from the end of the header
//
// The data parts of a file that parse_safetensors() accepts lie side by side: no hole, no overlap, nothing left over, and
// each is as long as its type and shape say. Little-endian. Source of the layout: the safetensors README.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/function_ref.h"
#include "base/result.h"
#include "tensor/element_type.h"

namespace sterna {

struct SafetensorsLimits {
    uint64_t max_header_bytes = 100'000'000;  // the format's own
    size_t max_tensors = size_t(1) << 20;
    size_t max_dimensions = 8;
    size_t max_name_bytes = 4096;
};

struct SafetensorsTensor {
    std::string name;
    ElementType type = ElementType::kF32;
    std::vector<int64_t> shape;  // slowest dimension first
    Bytes data;                  // at any address
};

struct SafetensorsPart {
    std::vector<SafetensorsTensor> tensors;                     // in the order of their data
    std::vector<std::pair<std::string, std::string>> metadata;  // "__metadata__"
};

// Lifetime: the tensors' data points into `bytes`. `name` is for messages.
Result<SafetensorsPart> parse_safetensors(Bytes bytes, const std::string& name, const SafetensorsLimits& limits = {});

// Nothing when Sterna has no such type ("F4").
std::optional<ElementType> element_type_by_name(std::string_view name);

// Writes one file; tensors in the order in which they were added. Thread-compatible.
class SafetensorsWriter {
public:
    using Sink = FunctionRef<Status(Bytes)>;
    // Passes a tensor's bytes to the sink in order, in pieces of any size. Called once per write.
    using Producer = std::function<Status(Sink)>;

    // Errors: a name that is there already or reserved, a shape whose size overflows.
    Status add(std::string name, ElementType type, std::vector<int64_t> shape, Producer producer);
    uint64_t data_bytes() const { return n_bytes_; }

    // To a temporary file beside `path`, renamed when it is complete. Not in builds without files.
    Status write(const std::string& path) const;
    // The same in memory.
    Result<std::vector<uint8_t>> to_bytes() const;

private:
    struct Tensor {
        std::string name;
        ElementType type;
        std::vector<int64_t> shape;
        uint64_t n_bytes;
        Producer producer;
    };

    std::vector<uint8_t> header() const;
    Status data(Sink sink) const;

    std::vector<Tensor> tensors_;
    uint64_t n_bytes_ = 0;
};

}  // namespace sterna
