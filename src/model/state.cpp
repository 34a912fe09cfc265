#include "model/state.h"

namespace sterna {

namespace {

constexpr int64_t kStateAlignment = 64;

int64_t aligned(int64_t bytes) {
    return (bytes + kStateAlignment - 1) / kStateAlignment * kStateAlignment;
}

}  // namespace

StateLayout StateLayout::make(const Config& config, kernels::KvKind wanted) {
    StateLayout layout;
    layout.kv_kind = wanted;
    layout.layers.resize(size_t(config.n_layers));
    if (wanted == kernels::KvKind::kQ8_0)
        for (int64_t layer = 0; layer < config.n_layers; ++layer)
            if (config.dim_k(layer) % 32 || config.dim_v(layer) % 32) layout.kv_kind = kernels::KvKind::kF16;

    for (int64_t index = 0; index < config.n_layers; ++index) {
        Layer& layer = layout.layers[size_t(index)];
        layer.n_kv_heads = config.n_kv_heads[size_t(index)];
        layer.head_dim_k = config.dim_k(index);
        layer.head_dim_v = config.dim_v(index);
        if (!config.recurrent_bytes.empty() && config.recurrent_bytes[size_t(index)] > 0) {
            layer.recurrent_offset = layout.recurrent_bytes;
            layer.recurrent_bytes = config.recurrent_bytes[size_t(index)];
            layout.recurrent_bytes += aligned(layer.recurrent_bytes);
        }
        int64_t source = config.kv_layer.empty() ? index : config.kv_layer[size_t(index)];
        if (source < 0) continue;
        if (source != index) {
            // Shared KV: an earlier layer's.
            const Layer& owner = layout.layers[size_t(source)];
            layer.k_offset = owner.k_offset;
            layer.v_offset = owner.v_offset;
            layer.head_stride_k = owner.head_stride_k;
            layer.head_stride_v = owner.head_stride_v;
            continue;
        }
        int64_t k_bytes = aligned(kernels::k_page_bytes(layout.kv_kind, kPagePositions, layer.head_dim_k));
        int64_t v_bytes = aligned(kernels::v_page_bytes(layout.kv_kind, kPagePositions, layer.head_dim_v));
        layer.owns_kv = true;
        layer.k_offset = layout.page_bytes;
        layer.v_offset = layout.page_bytes + k_bytes;
        layer.head_stride_k = layer.head_stride_v = k_bytes + v_bytes;
        layout.page_bytes += layer.n_kv_heads * (k_bytes + v_bytes);
    }
    return layout;
}

}  // namespace sterna
