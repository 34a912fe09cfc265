// Sizes of cache pages and of attention's scratch; layouts are in kernels.h and attention.inl.
#include "kernels/kernels.h"

namespace sterna::kernels {

int64_t k_page_bytes(KvKind kind, int64_t page_positions, int64_t head_dim_k) {
    return kind == KvKind::kF16 ? page_positions * head_dim_k * 2 : page_positions * (head_dim_k + head_dim_k / 32 * 2);
}

int64_t v_page_bytes(KvKind kind, int64_t page_positions, int64_t head_dim_v) {
    return kind == KvKind::kF16 ? page_positions * head_dim_v * 2 : page_positions * (head_dim_v + head_dim_v / 32 * 2);
}

// The parts of AttentionScratch in attention.inl, whatever the kind of cache.
int64_t attention_scratch_floats(int64_t head_dim_k, int64_t head_dim_v, int64_t n_q) {
    auto padded = [](int64_t n) { return (n + 15) / 16 * 16; };
    int64_t scores = n_q * kAttentionChunk;
    int64_t values = 2 * n_q * padded(head_dim_v);
    int64_t per_query = 4 * padded(n_q);
    int64_t scales = padded(n_q * ((head_dim_k + 31) / 32));
    int64_t quantized = padded(n_q * padded(head_dim_k) / 4);
    int64_t sums = scales;
    return scores + values + per_query + scales + quantized + sums;
}

}  // namespace sterna::kernels
