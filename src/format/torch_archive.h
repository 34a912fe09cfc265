// A file that torch.save() wrote, as a list of tensors inside its bytes: the zip of today ("x/data.pkl" and one stored
// entry per storage, "x/data/KEY") and the run of pickles of versions before 1.6:
//
//   pickle: the number 0x1950a86a20f9469cfc6c | pickle: 1001 | pickle: facts about the machine | pickle: the object |
//   pickle: list of keys | per key: i64 number of elements, data
//
// Runs no code (torch_pickle.h). Functions without state.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "tensor/element_type.h"

namespace sterna {

constexpr size_t kMaxTorchTensors = size_t(1) << 20;

struct TorchTensor {
    std::string name;
    ElementType type = ElementType::kF32;
    std::vector<int64_t> shape;    // as strides, slowest dimension first
    std::vector<int64_t> strides;  // in elements, none negative
    Bytes data;                    // from the first element; every index of the shape lies inside
    bool contiguous = true;  // the elements lie row-major, one after the other, and `data` is no longer than they are
};

bool is_torch_file(Bytes file);

// The tensors of a state dict: the dictionary itself, or the one under "state_dict", "model_state_dict", "model" or
// "module". A prefix "module." or "_orig_mod." that all names have is taken off.
// Lifetime: the data point into `file`. `path` is for messages.
Result<std::vector<TorchTensor>> read_torch_file(Bytes file, const std::string& path);

}  // namespace sterna
