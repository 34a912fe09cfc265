// Writing one position into the cache. Needs quantize.inl.
namespace sterna::kernels {
namespace {

// Writes halves of x[0, n) at out[0], out[stride], ...
inline void store_halves(const float* x, int64_t n, uint16_t* out, int64_t stride) {
    alignas(64) uint16_t lanes[16];
    for (int64_t i = 0; i < n; i += 16) {
        int64_t count = n - i < 16 ? n - i : 16;
        store_f16(lanes, load_first(x + i, int(count)));
        for (int64_t j = 0; j < count; ++j) out[(i + j) * stride] = lanes[j];
    }
}

inline void store_floats(const float* x, int64_t n, float* out, int64_t stride) {
    for (int64_t i = 0; i < n; ++i) out[i * stride] = x[i];
}

// Values quantized as activations are (quantize_q8_32), 256 at a time to stay on the stack; scales become halves.
inline void store_k_q8(const float* k, int64_t head_dim, uint8_t* tile, int64_t lane) {
    alignas(64) int8_t q[256];
    alignas(64) float scales[8];
    alignas(64) int16_t sums[8];
    uint16_t* tile_scales = reinterpret_cast<uint16_t*>(tile + 16 * head_dim);
    for (int64_t at = 0; at < head_dim; at += 256) {
        int64_t n = head_dim - at < 256 ? head_dim - at : 256;
        quantize_q8_32(k + at, n, q, scales, sums);
        for (int64_t d = 0; d < n; d += 4) __builtin_memcpy(tile + (at + d) * 16 + lane * 4, q + d, 4);
        store_halves(scales, n / 32, tile_scales + at / 32 * 16 + lane, 16);
    }
}

inline void store_v_q8(const float* v, int64_t head_dim, uint8_t* row) {
    alignas(64) float scales[8];
    alignas(64) int16_t sums[8];
    uint16_t* row_scales = reinterpret_cast<uint16_t*>(row + head_dim);
    for (int64_t at = 0; at < head_dim; at += 256) {
        int64_t n = head_dim - at < 256 ? head_dim - at : 256;
        quantize_q8_32(v + at, n, reinterpret_cast<int8_t*>(row + at), scales, sums);
        store_halves(scales, n / 32, row_scales + at / 32, 1);
    }
}

void kv_store(const KvStoreArgs& a) {
    int64_t tile = a.slot / kTilePositions, lane = a.slot % kTilePositions;
    uint8_t* k = a.page + a.k_offset;
    uint8_t* v = a.page + a.v_offset;
    if (a.kind == KvKind::kF16) {
        store_halves(a.k, a.head_dim_k, reinterpret_cast<uint16_t*>(k) + tile * 16 * a.head_dim_k + lane, 16);
        store_halves(a.v, a.head_dim_v, reinterpret_cast<uint16_t*>(v) + a.slot * a.head_dim_v, 1);
    } else if (a.kind == KvKind::kF32) {
        store_floats(a.k, a.head_dim_k, reinterpret_cast<float*>(k) + tile * 16 * a.head_dim_k + lane, 16);
        store_floats(a.v, a.head_dim_v, reinterpret_cast<float*>(v) + a.slot * a.head_dim_v, 1);
    } else {
        store_k_q8(a.k, a.head_dim_k, k + tile * (16 * a.head_dim_k + a.head_dim_k / 32 * 32), lane);
        store_v_q8(a.v, a.head_dim_v, v + a.slot * (a.head_dim_v + a.head_dim_v / 32 * 2));
    }
}

}  // namespace
}  // namespace sterna::kernels
