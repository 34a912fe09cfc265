#include "format/onnx.h"

#include <charconv>
#include <utility>

#include "base/printable.h"
#include "format/protobuf_wire.h"

namespace sterna {

namespace {

struct TypeRow {
    std::optional<ElementType> type;
    OnnxNibbles nibbles = OnnxNibbles::kNone;
};

// TensorProto.DataType.
TypeRow type_of(int64_t number) {
    switch (number) {
        case 1:
            return {ElementType::kF32};
        case 2:
            return {ElementType::kU8};
        case 3:
            return {ElementType::kI8};
        case 4:
            return {ElementType::kU16};
        case 5:
            return {ElementType::kI16};
        case 6:
            return {ElementType::kI32};
        case 7:
            return {ElementType::kI64};
        case 9:
            return {ElementType::kBool};
        case 10:
            return {ElementType::kF16};
        case 11:
            return {ElementType::kF64};
        case 12:
            return {ElementType::kU32};
        case 13:
            return {ElementType::kU64};
        case 16:
            return {ElementType::kBF16};
        case 17:
            return {ElementType::kF8E4M3};
        case 19:
            return {ElementType::kF8E5M2};
        case 21:
            return {ElementType::kU8, OnnxNibbles::kUnsigned};
        case 22:
            return {ElementType::kU8, OnnxNibbles::kSigned};
        case 24:
            return {ElementType::kF8E8M0};
        default:
            return {};
    }
}

class Parser {
public:
    Parser(const std::string& path, const OnnxLimits& limits) : path_(path), limits_(limits) {}

    Result<OnnxGraph> parse(Bytes file) {
        WireReader model(file);
        bool found = false;
        for (WireField field; model.next(field);) {
            if (field.number != 7 || field.type != WireType::kBytes) continue;
            STERNA_CHECK(read_graph(field.bytes, 1));
            found = true;
        }
        if (model.failed() || !found)
            return fail(ErrorCode::kBadFile, "{}: not an ONNX model, or cut off near byte {}", path_, model.position());
        return std::move(graph_);
    }

private:
    std::unexpected<Error> broken(std::string_view what) const {
        return fail(ErrorCode::kBadFile, "{}: a broken {}", path_, what);
    }

    Status read_graph(Bytes bytes, size_t depth) {
        if (depth > limits_.max_graph_depth)
            return fail(ErrorCode::kLimit, "{}: graphs nested deeper than {}", path_, limits_.max_graph_depth);
        WireReader reader(bytes);
        for (WireField field; reader.next(field);) {
            if (field.type != WireType::kBytes) continue;
            if (field.number == 1) STERNA_CHECK(read_node(field.bytes, depth));
            if (field.number == 5) STERNA_CHECK(read_tensor(field.bytes, {}));
        }
        if (reader.failed()) return broken("graph");
        return {};
    }

    Status read_node(Bytes bytes, size_t depth) {
        if (graph_.nodes.size() >= limits_.max_nodes)
            return fail(ErrorCode::kLimit, "{}: more than {} nodes", path_, limits_.max_nodes);
        OnnxNode node;
        std::vector<Bytes> graphs;
        Bytes constant;
        WireReader reader(bytes);
        for (WireField field; reader.next(field);) {
            if (field.type != WireType::kBytes) continue;
            if (field.number == 1 || field.number == 2) {
                auto& values = field.number == 1 ? node.inputs : node.outputs;
                if (values.size() >= limits_.max_node_values)
                    return fail(ErrorCode::kLimit, "{}: a node of more than {} values", path_, limits_.max_node_values);
                values.push_back(field.text());
            }
            if (field.number == 3) node.name = field.text();
            if (field.number == 4) node.op = field.text();
            if (field.number == 5) STERNA_CHECK(read_attribute(field.bytes, node, graphs, constant));
            if (field.number == 7) node.domain = field.text();
            if (field.number == 9) {
                STERNA_TRY(property, read_property(field.bytes));
                if (property.key == "pkg.torch.onnx.name_scopes") node.module_scopes = property.value;
            }
        }
        if (reader.failed()) return broken("node");
        if (node.op == "Constant" && !constant.empty() && !node.outputs.empty())
            STERNA_CHECK(read_tensor(constant, node.outputs[0]));
        graph_.nodes.push_back(std::move(node));
        for (Bytes graph : graphs) STERNA_CHECK(read_graph(graph, depth + 1));
        return {};
    }

    Status read_attribute(Bytes bytes, OnnxNode& node, std::vector<Bytes>& graphs, Bytes& constant) {
        constexpr size_t kMostIntegers = 1024;
        OnnxNode::Attribute attribute;
        Bytes tensor;
        WireReader reader(bytes);
        for (WireField field; reader.next(field);) {
            if (field.number == 1 && field.type == WireType::kBytes) attribute.name = field.text();
            if (field.number == 3 && field.type == WireType::kVarint) attribute.integer = field.integer();
            if (field.number == 5 && field.type == WireType::kBytes) tensor = field.bytes;
            if (field.number == 6 && field.type == WireType::kBytes) graphs.push_back(field.bytes);
            // Longer lists are no transposition and no shape.
            if (field.number == 8 && !append_integers(field, attribute.integers, kMostIntegers)) break;
        }
        if (reader.failed()) return broken("attribute");
        if (attribute.name == "value") constant = tensor;
        node.attributes.push_back(std::move(attribute));
        return {};
    }

    struct Property {
        std::string_view key, value;
    };

    Result<Property> read_property(Bytes bytes) {
        Property property;
        WireReader reader(bytes);
        for (WireField field; reader.next(field);) {
            if (field.type == WireType::kBytes && field.number == 1) property.key = field.text();
            if (field.type == WireType::kBytes && field.number == 2) property.value = field.text();
        }
        if (reader.failed()) return broken("key and value");
        return property;
    }

    Status read_external(Bytes bytes, OnnxTensor& tensor) {
        STERNA_TRY(property, read_property(bytes));
        const auto [key, value] = property;
        if (key == "location") tensor.location = value;
        if (key != "offset" && key != "length") return {};
        uint64_t& number = key == "offset" ? tensor.offset : tensor.length;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (error != std::errc() || end != value.data() + value.size())
            return fail(ErrorCode::kBadFile, "{}: external data of {} '{}'", path_, printable(key), printable(value));
        return {};
    }

    // `name`: instead of the tensor's own.
    Status read_tensor(Bytes bytes, std::string_view name) {
        if (graph_.tensors.size() >= limits_.max_tensors)
            return fail(ErrorCode::kLimit, "{}: more than {} tensors", path_, limits_.max_tensors);
        OnnxTensor tensor;
        int64_t type_number = 0;
        std::vector<WireField> lists;
        WireReader reader(bytes);
        for (WireField field; reader.next(field);) {
            const bool is_bytes = field.type == WireType::kBytes;
            switch (field.number) {
                case 1:
                    if (!append_integers(field, tensor.shape, limits_.max_dimensions)) return broken("shape");
                    break;
                case 2:
                    type_number = field.integer();
                    break;
                case 8:
                    if (is_bytes) tensor.name = field.text();
                    break;
                case 9:
                    if (is_bytes) tensor.data = field.bytes;
                    break;
                case 13:
                    if (is_bytes) STERNA_CHECK(read_external(field.bytes, tensor));
                    break;
                case 14:
                    tensor.external = field.value == 1;
                    break;
                case 4:
                case 5:
                case 7:
                case 10:
                case 11:
                    lists.push_back(field);
                    break;
                default:
                    break;
            }
        }
        if (reader.failed()) return broken("tensor");
        if (!name.empty()) tensor.name = name;
        const TypeRow row = type_of(type_number);
        tensor.type = row.type;
        tensor.nibbles = row.nibbles;
        if (element_count(tensor.shape) < 0 || element_count(tensor.shape) > int64_t(1) << 48)
            return fail(ErrorCode::kBadFile, "{}: tensor {}: shape {}", path_, printable(tensor.name),
                        shape_text(tensor.shape));
        if (tensor.type && !tensor.external) {
            if (tensor.data.empty() && !lists.empty()) STERNA_CHECK(copy_lists(lists, tensor));
            if (tensor.data.size() != tensor.wanted_bytes())
                return fail(ErrorCode::kBadFile, "{}: tensor {}: {} bytes for {} {}", path_, printable(tensor.name),
                            tensor.data.size(), element_name(*tensor.type), shape_text(tensor.shape));
        }
        graph_.tensors.push_back(std::move(tensor));
        return {};
    }

    // Numbers in lists, as the bytes they would have been.
    Status copy_lists(const std::vector<WireField>& lists, OnnxTensor& tensor) {
        const size_t width = size_t(element_bytes(*tensor.type));
        const uint64_t wanted = tensor.wanted_bytes();
        listed_bytes_ += wanted;
        if (wanted > limits_.max_listed_bytes || listed_bytes_ > limits_.max_listed_bytes)
            return fail(ErrorCode::kLimit, "{}: more than {} bytes of tensors in lists of numbers", path_,
                        limits_.max_listed_bytes);
        for (const WireField& field : lists) {
            const bool fixed = field.number == 4 || field.number == 10;
            const size_t field_width = field.number == 4 ? 4 : 8;
            if (fixed && field.type == WireType::kBytes) {
                tensor.owned.insert(tensor.owned.end(), field.bytes.begin(), field.bytes.end());
            } else if (fixed) {
                const auto* value = reinterpret_cast<const uint8_t*>(&field.value);
                tensor.owned.insert(tensor.owned.end(), value, value + field_width);
            } else {
                std::vector<int64_t> values;
                if (!append_integers(field, values, size_t(wanted / width) + 1)) return broken("list of numbers");
                for (int64_t value : values) {
                    const auto* low = reinterpret_cast<const uint8_t*>(&value);
                    tensor.owned.insert(tensor.owned.end(), low, low + width);
                }
            }
            if (tensor.owned.size() > wanted) break;
        }
        tensor.data = tensor.owned;
        return {};
    }

    const std::string& path_;
    const OnnxLimits& limits_;
    OnnxGraph graph_;
    uint64_t listed_bytes_ = 0;
};

}  // namespace

uint64_t OnnxTensor::wanted_bytes() const {
    const uint64_t n = uint64_t(element_count(shape));
    return nibbles == OnnxNibbles::kNone ? n * uint64_t(element_bytes(*type)) : (n + 1) / 2;
}

int64_t OnnxNode::integer(std::string_view attribute, int64_t otherwise) const {
    for (const Attribute& each : attributes) {
        if (each.name == attribute) return each.integer;
    }
    return otherwise;
}

const std::vector<int64_t>* OnnxNode::integers(std::string_view attribute) const {
    for (const Attribute& each : attributes) {
        if (each.name == attribute) return &each.integers;
    }
    return nullptr;
}

Result<OnnxGraph> parse_onnx(Bytes file, const std::string& path, const OnnxLimits& limits) {
    return Parser(path, limits).parse(file);
}

}  // namespace sterna
