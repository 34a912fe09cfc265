// The weights of an ONNX file, and as much of its graph as it takes to know what they are. The file is read in place: a
// model of 2 GB is mapped, not copied. Node and tensor names, shapes and bytes come as they stand; nothing is computed.
// Functions without state.
//
//   ModelProto   7 graph                      GraphProto   1 node, 5 initializer
//   NodeProto    1 input, 2 output, 3 name, 4 op_type, 5 attribute, 7 domain, 9 metadata_props (1 key, 2 value)
//   Attribute    1 name, 2 f, 3 i, 5 t (a tensor), 6 g (a graph), 8 ints
//   TensorProto  1 dims, 2 data_type, 8 name, 9 raw_data, 13 external_data (1 key, 2 value), 14 data_location, and one list
//                per kind of number: 4 float, 5 int32 (and all narrower), 7 int64, 10 double, 11 uint64 (and uint32)
// Source: onnx.proto of the ONNX repository.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "tensor/element_type.h"

namespace sterna {

struct OnnxLimits {
    size_t max_nodes = size_t(1) << 20;
    size_t max_tensors = size_t(1) << 20;
    size_t max_dimensions = 8;
    size_t max_graph_depth = 4;                 // graphs inside If and Loop
    size_t max_listed_bytes = size_t(1) << 28;  // numbers in lists have to be copied; large tensors come raw
    size_t max_node_values = size_t(1) << 16;   // inputs and outputs of a node
};

// Two values a byte, the low nibble first, unless they fill whole bytes.
enum class OnnxNibbles : uint8_t { kNone, kUnsigned, kSigned };

struct OnnxTensor {
    std::string_view name;
    std::optional<ElementType> type;           // nothing: strings and other things that are no weights
    OnnxNibbles nibbles = OnnxNibbles::kNone;  // then type is kU8
    std::vector<int64_t> shape;
    Bytes data;                  // in this file: as many bytes as type and shape say
    std::vector<uint8_t> owned;  // what `data` refers to, where numbers came in a list
    // In another file, relative to this one's folder. A length of 0: as long as type and shape say.
    bool external = false;
    std::string_view location;
    uint64_t offset = 0, length = 0;

    // Bytes that type and shape ask for. Requires: type.
    uint64_t wanted_bytes() const;
};

struct OnnxNode {
    std::string_view name, op, domain;
    // Of torch.onnx's exporter by torch.export: the modules around the operation and its own name, as Python writes a
    // list: "['', 'model', 'model.lm_head', 'linear_14']". Empty in other files.
    std::string_view module_scopes;
    std::vector<std::string_view> inputs, outputs;
    struct Attribute {
        std::string_view name;
        int64_t integer = 0;
        std::vector<int64_t> integers;
    };
    std::vector<Attribute> attributes;

    int64_t integer(std::string_view attribute, int64_t otherwise) const;
    // Empty when absent.
    const std::vector<int64_t>* integers(std::string_view attribute) const;
};

struct OnnxGraph {
    std::vector<OnnxNode> nodes;      // of all graphs, inner ones too, in file order
    std::vector<OnnxTensor> tensors;  // initializers, and the values of Constant nodes under their output's name
};

// Lifetime: views and data point into `file`. `path` is for messages.
Result<OnnxGraph> parse_onnx(Bytes file, const std::string& path, const OnnxLimits& limits = {});

}  // namespace sterna
