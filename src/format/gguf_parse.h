// One GGUF file's header and tensor table, checked. Private to format/: GgufFile joins the parts of a split file.
#pragma once

#include <string>
#include <vector>

#include "format/gguf.h"
#include "format/name_index.h"

namespace sterna::detail {

struct GgufPart {
    uint32_t version = 0;
    uint64_t alignment = 32;
    uint64_t data_at = 0;  // where tensor data starts
    std::vector<GgufValue> values;
    std::vector<TensorView> tensors;
    NameIndex keys;
};

// Lifetime: views point into `bytes`.
Result<GgufPart> parse_gguf_part(Bytes bytes, const std::string& name, const GgufLimits& limits);

const GgufValue* find_value(const GgufPart& part, std::string_view key);

// Any integer type, or a bool. Nothing for other types and beyond int64.
std::optional<int64_t> value_as_int(GgufType type, const uint8_t* at);
// A float type, or an integer.
std::optional<double> value_as_float(GgufType type, const uint8_t* at);

// Bytes of a value of fixed size; 0 for strings and arrays.
size_t gguf_type_bytes(GgufType type);
std::string_view gguf_type_name(GgufType type);

}  // namespace sterna::detail
