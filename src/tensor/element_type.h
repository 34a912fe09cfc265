// The element types in which checkpoints store tensors, more than GGUF knows: how wide they are, which GGUF type holds
// them without loss, and how they become floats. Functions without state; call them from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "tensor/dtype.h"

namespace sterna {

enum class ElementType : uint8_t {
    kF64,
    kF32,
    kF16,
    kBF16,
    kF8E4M3,  // 1-4-3 bits, bias 7, no infinity: 0x7f and 0xff are NaN ("e4m3fn")
    kF8E5M2,  // 1-5-2 bits, bias 15: the upper byte of a half
    kF8E8M0,  // 2^(byte - 127); 0xff is NaN
    kI64,
    kI32,
    kI16,
    kI8,
    kU64,
    kU32,
    kU16,
    kU8,
    kBool,
};

int element_bytes(ElementType type);
std::string_view element_name(ElementType type);  // "F8_E4M3"

// As CheckpointTensor::exact wants it. F64 and the wide integers without a type of their own: F32, rounded.
DType element_exact(ElementType type);
// Whether the bytes as they lie are of type element_exact().
bool element_is_stored(ElementType type);

// Elements [first, first + to.size()) as floats. Requires: inside `from`, which may lie at any address.
void read_elements(ElementType type, Bytes from, int64_t first, std::span<float> to);

float e4m3_to_float(uint8_t byte);
float e8m0_to_float(uint8_t byte);

// Returns: the product of the extents, or -1 when one is negative or the product exceeds 2^62.
int64_t element_count(std::span<const int64_t> shape);
// "[2, 3]"
std::string shape_text(std::span<const int64_t> shape);

}  // namespace sterna
