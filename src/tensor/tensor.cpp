#include "tensor/tensor.h"

namespace sterna {

std::string shape_text(const TensorView& tensor) {
    std::string text = "[";
    for (int i = 0; i < tensor.n_dims; ++i) {
        if (i) text += ", ";
        text += std::to_string(tensor.shape[size_t(i)]);
    }
    return text + "]";
}

}  // namespace sterna
