// Sizes of cache pages and of attention's scratch; layouts are in kernels.h and attention.inl.
#include "kernels/kernels.h"

namespace sterna::kernels {

namespace {

int64_t page_bytes(KvKind kind, int64_t positions, int64_t head_dim) {
    switch (kind) {
        case KvKind::kF16:
            return positions * head_dim * 2;
        case KvKind::kF32:
            return positions * head_dim * 4;
        case KvKind::kQ8_0:
            break;
    }
    return positions * (head_dim + head_dim / 32 * 2);
}

}  // namespace

int64_t k_page_bytes(KvKind kind, int64_t page_positions, int64_t head_dim_k) {
    return page_bytes(kind, page_positions, head_dim_k);
}
int64_t v_page_bytes(KvKind kind, int64_t page_positions, int64_t head_dim_v) {
    return page_bytes(kind, page_positions, head_dim_v);
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

// What take_sums() in attention.inl finds in a part.
int64_t attention_part_floats(int64_t head_dim_v, int64_t n_q) {
    return n_q * ((head_dim_v + 15) / 16 * 16) + 2 * ((n_q + 15) / 16 * 16);
}

}  // namespace sterna::kernels
