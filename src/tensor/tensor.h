// A view of a tensor's bytes as they lie in a file: never owns. Shapes are written as GGUF stores them, fastest
// dimension first: a weight matrix that maps n_in values to n_out is [n_in, n_out]; a stack of experts is [n_in, n_out,
// n_experts].
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "tensor/dtype.h"

namespace sterna {

constexpr int kMaxDims = 4;

struct TensorView {
    std::string_view name;
    DType type = DType::kF32;
    int n_dims = 0;
    std::array<int64_t, kMaxDims> shape = {1, 1, 1, 1};  // dimensions past n_dims are 1
    Bytes data;                                          // exactly dtype_bytes(type, n_elements())

    int64_t n_elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
};

std::string shape_text(const TensorView& tensor);  // "[64, 32]"

// Where a model's tensors come from. Immutable after load; share freely.
class TensorSource {
public:
    virtual ~TensorSource() = default;
    // Returns: null when there is none of this name. Lifetime: as long as the source.
    virtual const TensorView* find_tensor(std::string_view name) const = 0;
    // The tensor's bytes will not be read again soon (it has been packed): the source may let go of their memory.
    virtual void release(const TensorView&) const {}
};

}  // namespace sterna
