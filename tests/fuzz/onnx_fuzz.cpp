// ONNX graphs.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "format/onnx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    const auto graph = parse_onnx({data, size}, "fuzz.onnx");
    if (!graph) return 0;
    for (const OnnxTensor& tensor : graph->tensors) {
        if (!tensor.type || tensor.external) continue;
        if (tensor.data.size() != tensor.wanted_bytes()) std::abort();
    }
    return 0;
}
