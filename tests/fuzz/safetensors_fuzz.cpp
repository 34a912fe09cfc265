// Any bytes as a safetensors file: refused, or safe to read in every part.
#include <algorithm>
#include <cstdlib>

#include "format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    const auto part = parse_safetensors({data, size}, "fuzz");
    if (!part) {
        if (part.error().message.empty()) std::abort();
        return 0;
    }
    const uint8_t* at = nullptr;  // data parts lie side by side up to the end
    for (const SafetensorsTensor& tensor : part->tensors) {
        if (at && tensor.data.data() != at) std::abort();
        at = tensor.data.data() + tensor.data.size();
        const int64_t n = element_count(tensor.shape);
        if (n < 0 || uint64_t(n) * uint64_t(element_bytes(tensor.type)) != tensor.data.size()) std::abort();
        float values[64];
        for (int64_t first = 0; first < n; first += 64)
            read_elements(tensor.type, tensor.data, first,
                          std::span(values).first(size_t(std::min<int64_t>(64, n - first))));
    }
    if (at && at != data + size) std::abort();
    return 0;
}
