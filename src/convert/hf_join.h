// The way back of changes that take a checkpoint's tensor apart, turn it round or move its rows: the tensor of the checkpoint from the
// GGUF tensors made of it, one matrix of a stack at a time. Private to convert/. Functions without state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "model/huggingface.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace sterna {

// A GGUF tensor, and what was done to the checkpoint's to get it.
struct HfPart {
    const TensorView* tensor = nullptr;
    Change change = Change::kNone;
    bool is_row = false;  // a matrix of one row, which GGUF calls a vector
};

// Whether tensors that such a change made are put together here.
bool is_joined(Change change);

// Nothing when these are not all the parts of one tensor, or do not fit together. Else its shape, slowest dimension first.
std::vector<int64_t> joined_shape(std::span<const HfPart> parts);

// Calls sink with the values in order. Requires: joined_shape(parts) is not empty; the model's tensors have been checked.
Status join_parts(std::span<const HfPart> parts, const Config& config, int64_t layer,
                  FunctionRef<Status(std::span<const float>)> sink);

}  // namespace sterna
