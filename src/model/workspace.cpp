#include "model/workspace.h"

#include <algorithm>
#include <new>

namespace sterna {

namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMinAttentionChunks = 8;    // a session may be longer than the model's own context
constexpr int64_t kMaxAttentionParts = 4096;  // a few megabytes; beyond it heads alone are shared out

// Hands out aligned parts of one block, or only counts when the block is null.
class Carver {
public:
    explicit Carver(uint8_t* base) : base_(base) {}

    template <typename T>
    void take(T*& part, int64_t n) {
        part = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
        used_ += (n * int64_t(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    }
    int64_t used() const { return used_; }

private:
    uint8_t* base_;
    int64_t used_ = 0;
};

}  // namespace

Workspace::Workspace(ThreadPool& pool_, const kernels::Kernels& kernels_)
    : pool(pool_), kernels(kernels_), buffers(std::make_unique<Buffers>()) {}
Workspace::~Workspace() = default;

void Workspace::Buffers::Free::operator()(uint8_t* p) const {
    ::operator delete(p, std::align_val_t(kAlignment));
}

int64_t Workspace::Buffers::carve(const Config& config, int64_t n_tokens, int n_workers, uint8_t* base) {
    int64_t qkv_width = 0, o_width = 0, ffn_width = 0;
    attention_stride = 0;
    attention_part_room = 0;
    const int64_t n_chunks = std::max(kMinAttentionChunks, config.context_length / kernels::kAttentionChunk + 1);
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
        qkv_width = std::max(qkv_width, config.q_width(layer) + config.k_width(layer) + config.v_width(layer));
        o_width = std::max(o_width, config.o_width(layer));
        if (config.is_recurrent(layer))
            o_width = std::max({o_width, config.width, config.recurrent.n_heads * config.recurrent.value_dim});
        ffn_width = std::max(ffn_width, config.ffn_width[size_t(layer)]);
        int64_t group = config.n_heads[size_t(layer)] / config.n_kv_heads[size_t(layer)];
        attention_stride = std::max(attention_stride,
                                    kernels::attention_scratch_floats(config.dim_k(layer), config.dim_v(layer), group));
        // One token's attention over the longest context, if there are workers to share it.
        if (n_workers > 1)
            attention_part_room = std::max(attention_part_room,
                                           std::min(kMaxAttentionParts, n_chunks * config.n_kv_heads[size_t(layer)]) *
                                               kernels::attention_part_floats(config.dim_v(layer), group));
    }
    attention_stride = (attention_stride + 15) / 16 * 16;
    bool experts = config.n_experts > 0;
    int64_t n_slots = experts ? n_tokens * config.n_experts_used : 0;
    int64_t ffn_values =
        std::max({n_tokens * ffn_width, n_slots * config.expert_ffn_width, n_tokens * config.shared_ffn_width});
    int64_t quantized = std::max({n_tokens * config.width, n_tokens * o_width, ffn_values, n_slots * config.width,
                                  n_tokens * config.mixer_width, n_tokens * config.mixed_width});
    int64_t pairs = config.rope.style == RopeStyle::kNone ? 0 : config.rope.n_dims / 2;
    int64_t local_pairs = config.rope.theta_local > 0.0 ? config.rope.n_dims_local / 2 : 0;

    Carver carver(base);
    carver.take(x, n_tokens * config.width);
    carver.take(h, n_tokens * config.width);
    carver.take(y, n_tokens * config.width);
    carver.take(qkv, n_tokens * qkv_width);
    carver.take(attn, n_tokens * o_width);
    carver.take(ffn, 2 * ffn_values);
    carver.take(act, ffn_values);
    carver.take(mixer, n_tokens * config.mixer_width);
    carver.take(mixed, n_tokens * config.mixed_width);
    carver.take(q8_32, quantized);
    carver.take(q8_32_scales, quantized / 32);
    carver.take(q8_32_sums, quantized / 32);
    carver.take(q8_256, quantized);
    carver.take(q8_256_scales, quantized / 256);
    carver.take(q8_256_sums, quantized / 16);
    carver.take(cos_global, n_tokens * pairs);
    carver.take(sin_global, n_tokens * pairs);
    carver.take(cos_local, n_tokens * local_pairs);
    carver.take(sin_local, n_tokens * local_pairs);
    carver.take(end, n_tokens);
    carver.take(wanted, n_tokens);
    carver.take(router, experts ? n_tokens * config.n_experts : 0);
    carver.take(expert_score, experts ? n_tokens * config.n_experts : 0);
    carver.take(expert, n_slots);
    carver.take(expert_weight, n_slots);
    carver.take(slot, n_slots);
    carver.take(expert_begin, experts ? config.n_experts + 1 : 0);
    carver.take(expert_in, n_slots * config.width);
    carver.take(expert_out, n_slots * config.width);
    carver.take(matmul_scratch, n_workers * kernels::kMatmulScratchBytes);
    carver.take(attention_scratch, n_workers * attention_stride);
    carver.take(attention_parts, attention_part_room);
    return carver.used();
}

int64_t Workspace::Buffers::bytes(const Config& config, int64_t n_tokens, int n_workers) {
    Buffers unused;
    return unused.carve(config, n_tokens, n_workers, nullptr);
}

Status Workspace::Buffers::reserve(const Config& config, int64_t n_tokens, int n_workers) {
    int64_t wanted_bytes = carve(config, n_tokens, n_workers, nullptr);
    if (wanted_bytes > capacity_) {
        memory_.reset();
        capacity_ = 0;
        memory_.reset(
            static_cast<uint8_t*>(::operator new(size_t(wanted_bytes), std::align_val_t(kAlignment), std::nothrow)));
        if (!memory_)
            return fail(ErrorCode::kOutOfMemory, "workspace: {} bytes for a step of {} tokens", wanted_bytes, n_tokens);
        capacity_ = wanted_bytes;
    }
    carve(config, n_tokens, n_workers, memory_.get());
    return {};
}

}  // namespace sterna
