// A weight matrix in the kernels' layout: 16 rows side by side, so that a vector lane is an output row
// (kernels/layout.h). The packed form takes as many bytes as the file's (plus the padding of the last panel). Owns its
// memory, or its part of an arena's; immutable; share freely.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace sterna {

// Memory for many matrices, side by side on large pages where the system has them: matrices of less than a large page, and
// the last part of every other, would lie on small ones, which the processor translates one by one. What is handed out
// outlives the arena. Thread-compatible.
class PackArena {
public:
    // 64-byte aligned; null when there is no memory.
    std::shared_ptr<uint8_t> allocate(size_t bytes);

private:
    std::shared_ptr<uint8_t> chunk_;  // only where large pages can be asked for
    [[maybe_unused]] size_t used_ = 0;
    [[maybe_unused]] size_t size_ = 0;
};

class PackedMatrix {
public:
    PackedMatrix() = default;

    // Packs a matrix [n_cols, n_rows], or matrix `index` of a stack [n_cols, n_rows, n]; all cores of the pool work.
    static Result<PackedMatrix> pack(const TensorView& tensor, ThreadPool& pool, PackArena& arena, int64_t index = 0);

    bool empty() const { return n_rows_ == 0; }
    DType type() const { return type_; }
    kernels::WeightKind kind() const { return kind_; }
    int64_t n_rows() const { return n_rows_; }
    int64_t n_cols() const { return n_cols_; }
    int64_t n_panels() const { return (n_rows_ + kernels::kPanelRows - 1) / kernels::kPanelRows; }
    int64_t panel_bytes() const { return panel_bytes_; }
    const uint8_t* data() const { return data_.get(); }
    int64_t bytes() const { return n_panels() * panel_bytes_; }

    // Decodes one row to n_cols floats, exactly as the type's decoder would (token embeddings).
    void unpack_row(int64_t row, float* out) const;

private:
    DType type_ = DType::kF32;
    kernels::WeightKind kind_ = kernels::WeightKind::kF32;
    int64_t n_rows_ = 0, n_cols_ = 0, panel_bytes_ = 0;
    std::shared_ptr<const uint8_t> data_;
};

}  // namespace sterna
