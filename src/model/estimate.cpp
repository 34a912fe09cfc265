#include "model/estimate.h"

#include <algorithm>

#include "model/model.h"
#include "model/workspace.h"

namespace sterna {

namespace {

constexpr int64_t kStepTokens = 512;

}  // namespace

Result<MemoryEstimate> estimate_memory(const Metadata& metadata, std::span<const TensorView> tensors,
                                       int64_t n_positions, kernels::KvKind kv) {
    STERNA_TRY(plan, plan_model(metadata, {}));
    const Config& config = plan.config;
    MemoryEstimate estimate;
    estimate.context = n_positions > 0 ? n_positions : std::min(config.context_length, kDefaultContext);
    for (const TensorView& tensor : tensors) estimate.weights += int64_t(tensor.data.size());
    StateLayout layout = StateLayout::make(config, kv);
    int64_t pages = (estimate.context + StateLayout::kPagePositions - 1) / StateLayout::kPagePositions;
    estimate.cache = pages * layout.page_bytes + layout.recurrent_bytes;
    estimate.workspace = Workspace::Buffers::bytes(config, kStepTokens, 1);
    return estimate;
}

}  // namespace sterna
