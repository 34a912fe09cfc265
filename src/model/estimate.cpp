#include "model/estimate.h"

#include <algorithm>

#include "model/model.h"

namespace sterna {

namespace {

constexpr int64_t kStepTokens = 512;

// The floats that a step holds at once per token: hidden state, residual, normed copy, q, k, v, attention output, the two
// halves of the feed-forward layer, and int8 activations with their scales.
int64_t workspace_bytes(const Config& config) {
    int64_t widest = config.width;
    for (size_t i = 0; i < config.n_heads.size(); ++i) {
        int64_t qkv = config.n_heads[i] * config.head_dim_k + config.n_kv_heads[i] * (config.head_dim_k + config.head_dim_v) +
                      config.n_heads[i] * config.head_dim_v;
        int64_t ffn = config.ffn_width[i] * 3;
        widest = std::max({widest, qkv, ffn});
    }
    return kStepTokens * (4 * config.width + 2 * widest) * int64_t(sizeof(float));
}

}  // namespace

Result<MemoryEstimate> estimate_memory(const Metadata& metadata, std::span<const TensorView> tensors, int64_t n_positions,
                                       kernels::KvKind kv) {
    auto name = metadata.get_string("general.architecture");
    if (!name) return fail(ErrorCode::kBadFile, "general.architecture: missing");
    const Architecture* architecture = find_architecture(*name);
    if (!architecture) return fail(ErrorCode::kUnsupported, "architecture {}: not one that Sterna runs", *name);
    STERNA_TRY(config, architecture->read_config(metadata, {}));
    MemoryEstimate estimate;
    estimate.context = n_positions > 0 ? n_positions : std::min(config.context_length, kDefaultContext);
    for (const TensorView& tensor : tensors) estimate.weights += int64_t(tensor.data.size());
    StateLayout layout = StateLayout::make(config, kv);
    int64_t pages = (estimate.context + StateLayout::kPagePositions - 1) / StateLayout::kPagePositions;
    estimate.cache = pages * layout.page_bytes + layout.recurrent_bytes;
    estimate.workspace = workspace_bytes(config);
    return estimate;
}

}  // namespace sterna
