// PyTorch files: zip, pickle, and the strided views inside.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "format/torch_archive.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    const auto tensors = read_torch_file({data, size}, "fuzz.bin");
    if (!tensors) return 0;
    for (const TorchTensor& tensor : *tensors) {
        if (element_count(tensor.shape) < 1) continue;
        // The last element is inside, or the reader has let something pass.
        int64_t last = 0;
        for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
        if ((last + 1) * element_bytes(tensor.type) > int64_t(tensor.data.size())) std::abort();
        float value;
        read_elements(tensor.type, tensor.data, last, std::span(&value, 1));
    }
    return 0;
}
