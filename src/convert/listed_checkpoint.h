// What the readers of checkpoints share: a list of tensors, looked up by name. A reader fills `tensors_`, calls
// index_names(), and finds its own facts about a tensor by position(). Private to convert/.
// Immutable after index_names().
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "convert/checkpoint.h"
#include "format/name_index.h"

namespace sterna {

// Of every kind of checkpoint. The largest published ones have some 100,000 tensors (experts times layers).
constexpr size_t kMaxCheckpointTensors = size_t(1) << 20;
constexpr size_t kMaxTensorDimensions = 8;
constexpr size_t kMaxTensorNameBytes = 4096;

class ListedCheckpoint : public Checkpoint {
public:
    std::span<const CheckpointTensor> tensors() const final { return tensors_; }
    const CheckpointTensor* find(std::string_view name) const final {
        const auto at = index_.find(name);
        return at ? &tensors_[*at] : nullptr;
    }

protected:
    // Requires: no tensor is added afterwards.
    Status index_names(const std::string& path) {
        const auto twice =
            index_.build(uint32_t(tensors_.size()), [&](uint32_t i) { return std::string_view(tensors_[i].name); });
        if (twice) return fail(ErrorCode::kBadFile, "{}: tensor '{}' occurs twice", path, tensors_[*twice].name);
        return {};
    }
    size_t position(const CheckpointTensor& tensor) const { return size_t(&tensor - tensors_.data()); }

    std::vector<CheckpointTensor> tensors_;

private:
    NameIndex index_;
};

}  // namespace sterna
