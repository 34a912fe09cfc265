// RWKV-7 "Goose" (0.1B to 2.9B): "rwkv7" files. No attention: a state of one matrix per head.
//
//   x = layer_norm(embedding)
//   per layer:  h = layer_norm(x);  r, w, k, v, a, g from mixtures of h and the h before it      (Peng et al. 2025, RWKV-7,
//               S = S diag(decay(w)) - S kk (kk * a)^T + v k^T;  o = group_norm(S r)              section 4)
//               x += W_o ((o + (r . bonus k) v) * g)
//               h = layer_norm(x);  x += W_v max(W_k (mixture of h and the h before it), 0)^2
//   logits = W_out layer_norm(x)
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

constexpr float kGroupNormEps = 64e-5f;
constexpr float kDecayFloor = 0.60653066f;  // exp(-1/2): a decay is at least exp(-exp(-1/2))
enum Mixture { kR, kW, kK, kV, kA, kG, kMixtures };

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config;
    config.architecture = architecture;
    config.n_layers = reader.integer("block_count", 1, limits.max_layers);
    config.width = reader.integer("embedding_length", 1, limits.max_width);
    config.context_length = reader.integer("context_length", 1, limits.max_context);
    int64_t head = reader.integer("wkv.head_size", 1, limits.max_head_dim), n = config.n_layers;
    if (config.width % head)
        reader.reject(fmt::format("rwkv7.wkv.head_size: {} does not divide the width {}", head, config.width));
    int64_t n_heads = std::max<int64_t>(1, config.width / head);
    config.n_heads.assign(size_t(n), n_heads);
    config.n_kv_heads = config.n_heads;
    config.head_dim_k = config.head_dim_v = head;
    config.ffn_width = reader.per_layer("feed_forward_length", n, 1, limits.max_ffn_width);
    config.norm = NormKind::kLayer;
    config.norm_eps = float(reader.number("attention.layer_norm_epsilon", 0.0, 1.0, 1e-5));
    config.activation = Activation::kRelu2;
    config.is_sliding.assign(size_t(n), false);
    config.recurrent = {.kernel = 1,
                        .channels = config.width,
                        .n_heads = n_heads,
                        .n_key_heads = n_heads,
                        .key_dim = head,
                        .value_dim = head};
    config.kv_layer.assign(size_t(n), -1);
    // Per layer: the last h of both sublayers, and the state.
    config.recurrent_bytes.assign(size_t(n), (2 * config.width + config.width * head) * int64_t(sizeof(float)));
    int64_t low = 1;
    for (const char* rank : {"decay", "iclr", "value_residual_mix", "gate"})
        low = std::max(low, reader.integer(fmt::format("attention.{}_lora_rank", rank), 1, limits.max_width));
    config.mixer_width = (2 * kMixtures + 1) * config.width + low;
    return reader.finish(std::move(config));
}

bool after_first(const Config&, int64_t layer) {
    return layer > 0;
}
bool is_first(const Config&, int64_t layer) {
    return layer == 0;
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embeddings.weight", "width, vocab"},
    {&Weights::embedding_norm, "token_embd_norm.weight", "model.layers.0.pre_norm.weight", "width"},
    {&Weights::embedding_norm_bias, "token_embd_norm.bias", "model.layers.0.pre_norm.bias", "width"},
    {&Weights::output_norm, "output_norm.weight", "model.norm.weight", "width"},
    {&Weights::output_norm_bias, "output_norm.bias", "model.norm.bias", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab"},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.attn_norm.weight", "width"},
    {&L::attn_norm_bias, "blk.{}.attn_norm.bias", "model.layers.{}.attn_norm.bias", "width"},
    {&L::ffn_norm, "blk.{}.attn_norm_2.weight", "model.layers.{}.ffn_norm.weight", "width"},
    {&L::ffn_norm_bias, "blk.{}.attn_norm_2.bias", "model.layers.{}.ffn_norm.bias", "width"},
    {&L::token_lerp, "blk.{}.time_mix_lerp_fused.weight", "model.layers.{}.attn.x_[rwkvag]", "width, 1, 1, 6", true,
     Change::kStack},
    {&L::decay_down, "blk.{}.time_mix_w1.weight", "model.layers.{}.attn.w_lora.lora.0.weight", "width, any"},
    {&L::decay_up, "blk.{}.time_mix_w2.weight", "model.layers.{}.attn.w_lora.lora.2.weight", "any, width"},
    {BiasSlot{&L::decay_up}, "blk.{}.time_mix_w0.weight", "model.layers.{}.attn.w_lora.lora.2.bias", "width"},
    {&L::rate_down, "blk.{}.time_mix_a1.weight", "model.layers.{}.attn.a_lora.lora.0.weight", "width, any"},
    {&L::rate_up, "blk.{}.time_mix_a2.weight", "model.layers.{}.attn.a_lora.lora.2.weight", "any, width"},
    {BiasSlot{&L::rate_up}, "blk.{}.time_mix_a0.weight", "model.layers.{}.attn.a_lora.lora.2.bias", "width"},
    {&L::value_down, "blk.{}.time_mix_v1.weight", "model.layers.{}.attn.v_lora.lora.0.weight", "width, any", true,
     Change::kNone, after_first},
    {&L::value_up, "blk.{}.time_mix_v2.weight", "model.layers.{}.attn.v_lora.lora.2.weight", "any, width", true,
     Change::kNone, after_first},
    {BiasSlot{&L::value_up}, "blk.{}.time_mix_v0.weight", "model.layers.{}.attn.v_lora.lora.2.bias", "width", true,
     Change::kNone, after_first},
    // The first layer has nothing to mix its values with. llama.cpp wants these tensors there too, and its converter repeats the rates'.
    {&L::value_down, "blk.{}.time_mix_v1.weight", "model.layers.{}.attn.a_lora.lora.0.weight", "width, any", kOptional,
     Change::kNone, is_first},
    {&L::value_up, "blk.{}.time_mix_v2.weight", "model.layers.{}.attn.a_lora.lora.2.weight", "any, width", kOptional,
     Change::kNone, is_first},
    {BiasSlot{&L::value_up}, "blk.{}.time_mix_v0.weight", "model.layers.{}.attn.a_lora.lora.2.bias", "width", kOptional,
     Change::kNone, is_first},
    {&L::gate_down, "blk.{}.time_mix_g1.weight", "model.layers.{}.attn.g_lora.lora.0.weight", "width, any"},
    {&L::gate_lift, "blk.{}.time_mix_g2.weight", "model.layers.{}.attn.g_lora.lora.2.weight", "any, width"},
    {&L::removal_key, "blk.{}.time_mix_k_k.weight", "model.layers.{}.attn.k_k", "width"},
    {&L::key_rate, "blk.{}.time_mix_k_a.weight", "model.layers.{}.attn.k_a", "width"},
    {&L::bonus, "blk.{}.time_mix_r_k.weight", "model.layers.{}.attn.r_k", "width", true, Change::kFlatten},
    {&L::q, "blk.{}.time_mix_receptance.weight", "model.layers.{}.attn.r_proj.weight", "width, width"},
    {&L::k, "blk.{}.time_mix_key.weight", "model.layers.{}.attn.k_proj.weight", "width, width"},
    {&L::v, "blk.{}.time_mix_value.weight", "model.layers.{}.attn.v_proj.weight", "width, width"},
    {&L::mixer_norm, "blk.{}.time_mix_ln.weight", "model.layers.{}.attn.g_norm.weight", "width"},
    {&L::mixer_norm_bias, "blk.{}.time_mix_ln.bias", "model.layers.{}.attn.g_norm.bias", "width"},
    {&L::mixer_out, "blk.{}.time_mix_output.weight", "model.layers.{}.attn.o_proj.weight", "width, width"},
    {&L::channel_lerp, "blk.{}.channel_mix_lerp_k.weight", "model.layers.{}.ffn.x_k", "width"},
    {&L::up, "blk.{}.channel_mix_key.weight", "model.layers.{}.ffn.key.weight", "width, ffn"},
    {&L::down, "blk.{}.channel_mix_value.weight", "model.layers.{}.ffn.value.weight", "ffn, width"},
};

// The author's own names, whose low-rank matrices are stored transposed.
constexpr HfTensor kTensors[] = {
    {"token_embd.weight", "emb.weight"},
    {"token_embd_norm.weight", "blocks.0.ln0.weight"},
    {"token_embd_norm.bias", "blocks.0.ln0.bias"},
    {"output_norm.weight", "ln_out.weight"},
    {"output_norm.bias", "ln_out.bias"},
    {"output.weight", "head.weight"},
    {"blk.{}.attn_norm.weight", "blocks.{}.ln1.weight"},
    {"blk.{}.attn_norm.bias", "blocks.{}.ln1.bias"},
    {"blk.{}.attn_norm_2.weight", "blocks.{}.ln2.weight"},
    {"blk.{}.attn_norm_2.bias", "blocks.{}.ln2.bias"},
    {"blk.{}.time_mix_ln.weight", "blocks.{}.att.ln_x.weight"},
    {"blk.{}.time_mix_ln.bias", "blocks.{}.att.ln_x.bias"},
    {"blk.{}.time_mix_lerp_fused.weight", "model.layers.{}.attn.x_x"},
    {"blk.{}.time_mix_lerp_fused.weight", "blocks.{}.att.x_[rwkvag]", Change::kStack},
    {"blk.{}.time_mix_w1.weight", "blocks.{}.att.w1", Change::kTranspose},
    {"blk.{}.time_mix_w2.weight", "blocks.{}.att.w2", Change::kTranspose},
    {"blk.{}.time_mix_w0.weight", "blocks.{}.att.w0"},
    {"blk.{}.time_mix_a1.weight", "blocks.{}.att.a1", Change::kTranspose},
    {"blk.{}.time_mix_a2.weight", "blocks.{}.att.a2", Change::kTranspose},
    {"blk.{}.time_mix_a0.weight", "blocks.{}.att.a0"},
    {"blk.{}.time_mix_g1.weight", "blocks.{}.att.g1", Change::kTranspose},
    {"blk.{}.time_mix_g2.weight", "blocks.{}.att.g2", Change::kTranspose},
    {"blk.{}.time_mix_v1.weight", "blocks.{}.att.v1", Change::kTranspose, after_first},
    {"blk.{}.time_mix_v1.weight", "blocks.{}.att.a1", Change::kTranspose, is_first},
    {"blk.{}.time_mix_v2.weight", "blocks.{}.att.v2", Change::kTranspose, after_first},
    {"blk.{}.time_mix_v2.weight", "blocks.{}.att.a2", Change::kTranspose, is_first},
    {"blk.{}.time_mix_v0.weight", "blocks.{}.att.v0", Change::kNone, after_first},
    {"blk.{}.time_mix_v0.weight", "blocks.{}.att.a0", Change::kNone, is_first},
    {"blk.{}.time_mix_k_k.weight", "blocks.{}.att.k_k"},
    {"blk.{}.time_mix_k_a.weight", "blocks.{}.att.k_a"},
    {"blk.{}.channel_mix_lerp_k.weight", "blocks.{}.ffn.x_k"},
    {"blk.{}.time_mix_r_k.weight", "blocks.{}.att.r_k", Change::kFlatten},
    {"blk.{}.time_mix_receptance.weight", "blocks.{}.att.receptance.weight"},
    {"blk.{}.time_mix_key.weight", "blocks.{}.att.key.weight"},
    {"blk.{}.time_mix_value.weight", "blocks.{}.att.value.weight"},
    {"blk.{}.time_mix_output.weight", "blocks.{}.att.output.weight"},
    {"blk.{}.channel_mix_key.weight", "blocks.{}.ffn.key.weight"},
    {"blk.{}.channel_mix_value.weight", "blocks.{}.ffn.value.weight"},
};

// Attention's keys have no meaning here; llama.cpp wants a number of heads all the same.
constexpr HfKey kKeys[] = {
    {"", "context_length", HfKind::kInt, "1048576"},
    {"", "attention.head_count", HfKind::kInt, "0"},
    {"", "attention.head_count_kv"},
    {"", "attention.key_length"},
    {"", "attention.value_length"},
    {"intermediate_size", "feed_forward_length", HfKind::kInt, "4*hidden_size"},
    {"norm_eps", "attention.layer_norm_epsilon", HfKind::kFloat, "0.00001"},
    {"head_dim", "wkv.head_size", HfKind::kInt, "64"},
    {"decay_low_rank_dim", "attention.decay_lora_rank"},
    {"a_low_rank_dim", "attention.iclr_lora_rank"},
    {"v_low_rank_dim", "attention.value_residual_mix_lora_rank"},
    {"gate_low_rank_dim", "attention.gate_lora_rank"},
    {"hidden_act", "", HfKind::kIs, "sqrelu", "sqrelu"},
};
constexpr HfClass kClasses[] = {{"RWKV7ForCausalLM"}};

std::vector<TensorSpec> tensors(const Config&) {
    return {std::begin(kTable), std::end(kTable)};
}

// out[m][row] = h + (h before - h) * factor[m], m-th of n mixtures [n][T][width]; the state keeps the last h at `at`.
void shift_and_mix(ForwardContext& c, int64_t layer, int64_t at, const float* factors, int64_t n, float* out) {
    constexpr int64_t kChannelsPerTask = 256;
    int64_t width = c.config.width, rows = c.n_rows;
    c.pool.run(int((width + kChannelsPerTask - 1) / kChannelsPerTask), [&](int task, int) {
        int64_t begin = task * kChannelsPerTask, end = std::min(begin + kChannelsPerTask, width);
        for (int64_t row = 0; row < rows; ++row) {
            float* before = state_of(c, layer, row) + at;
            const float* h = c.buffers.h + row * width;
            for (int64_t i = begin; i < end; ++i) {
                float step = before[i] - h[i];
                for (int64_t m = 0; m < n; ++m)
                    out[(m * rows + row) * width + i] = h[i] + step * factors[m * width + i];
                before[i] = h[i];
            }
        }
    });
}

// One token of one head; state [key][value].
void advance(const kernels::Kernels& kernel, int64_t n, float* state, const float* r, const float* decay,
             const float* k, const float* v, const float* removal, const float* rate, float* out) {
    float removed[1024];  // max_head_dim
    std::fill(removed, removed + n, 0.0f);
    for (int64_t j = 0; j < n; ++j) kernel.add_scaled(removed, state + j * n, -removal[j], n, removed);
    std::fill(out, out + n, 0.0f);
    for (int64_t j = 0; j < n; ++j) {
        float* row = state + j * n;
        kernel.scale(row, decay[j], n, row);
        kernel.add_scaled(row, removed, removal[j] * rate[j], n, row);
        kernel.add_scaled(row, v, k[j], n, row);
        kernel.add_scaled(out, row, r[j], n, out);
    }
}

// A head of one token, after its projections: makes decay, rate, keys and values ready, advances, normalizes, adds the bonus.
void run_head(ForwardContext& c, int64_t layer, int64_t row, int64_t head, float* const part[kMixtures], float* first) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    const auto& kernel = c.kernels;
    int64_t n = c.config.head_dim_k, at = head * n, width = c.config.width, place = row * width + at;
    float *r = part[kR] + place, *decay = part[kW] + place, *k = part[kK] + place, *v = part[kV] + place,
          *rate = part[kA] + place;
    float removal[1024];
    for (int64_t i = 0; i < n; ++i) {
        decay[i] = kernels::exp_f32(-kDecayFloor * sigmoid(decay[i]));
        rate[i] = sigmoid(rate[i]);
        removal[i] = k[i] * w.removal_key[size_t(at + i)];
        k[i] = k[i] * (1.0f + (rate[i] - 1.0f) * w.key_rate[size_t(at + i)]);
    }
    kernel.rms_norm(removal, nullptr, 1e-24f / float(n), n, removal);  // to unit length
    kernel.scale(removal, 1.0f / std::sqrt(float(n)), n, removal);
    if (layer == 0) std::memcpy(first + place, v, size_t(n) * sizeof(float));
    float* out = c.buffers.attn + place;
    advance(kernel, n, state_of(c, layer, row) + 2 * width + at * n, r, decay, k, v, removal, rate, out);
    kernel.layer_norm(out, w.mixer_norm.data() + at, w.mixer_norm_bias.data() + at, kGroupNormEps, n, out);
    float sum = 0.0f;
    for (int64_t i = 0; i < n; ++i) sum = sum + r[i] * k[i] * w.bonus[size_t(at + i)];
    kernel.add_scaled(out, v, sum, n, out);
    kernel.mul(out, part[kG] + place, n, out);
}

void time_mix(ForwardContext& c, int64_t layer) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    auto& b = c.buffers;
    int64_t width = c.config.width, rows = c.n_rows, area = rows * width;
    float* mixed = b.mixer;
    float* first = b.mixer + 2 * kMixtures * area;  // values of the first layer, for all others
    float* low = first + area;
    float* part[kMixtures];
    for (int64_t m = 0; m < kMixtures; ++m) part[m] = b.mixer + (kMixtures + m) * area;
    shift_and_mix(c, layer, 0, w.token_lerp.data(), kMixtures, mixed);

    auto input = [&](Mixture m) { return Input{mixed + m * area, rows, width}; };
    // part[m] = up(f(down(mixture))), f by the caller
    auto low_rank = [&](Mixture m, const Linear& down, const Linear& up, float* out, float (*f)(float)) {
        int64_t rank = down.weight.n_rows();
        linear(c, down, input(m), low);
        if (f)
            for_rows(c, rows, 16 * rank, [&](int64_t row, int) {
                for (int64_t i = row * rank; i < (row + 1) * rank; ++i) low[i] = f(low[i]);
            });
        linear(c, up, {low, rows, rank}, out);
    };
    linear(c, w.q, input(kR), part[kR]);
    linear(c, w.k, input(kK), part[kK]);
    linear(c, w.v, input(kV), part[kV]);
    low_rank(kW, w.decay_down, w.decay_up, part[kW], kernels::tanh_f32);
    low_rank(kA, w.rate_down, w.rate_up, part[kA], nullptr);
    low_rank(kG, w.gate_down, w.gate_lift, part[kG], sigmoid);
    if (layer > 0) {
        float* share = mixed + kR * area;  // its input is used up
        low_rank(kV, w.value_down, w.value_up, share, nullptr);
        for_rows(c, rows, 16 * width, [&](int64_t row, int) {
            for (int64_t i = row * width; i < (row + 1) * width; ++i)
                part[kV][i] = part[kV][i] + (first[i] - part[kV][i]) * sigmoid(share[i]);
        });
    }
    c.pool.run(int(c.config.n_heads[0]), [&](int head, int) {
        for (int64_t row = 0; row < rows; ++row) run_head(c, layer, row, head, part, first);
    });
    linear(c, w.mixer_out, {b.attn, rows, width}, b.y);
}

void channel_mix(ForwardContext& c, int64_t layer) {
    auto& b = c.buffers;
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    shift_and_mix(c, layer, c.config.width, w.channel_lerp.data(), 1, b.mixer);
    leave_stream(c, layer, b.mixer, c.config.width);
    plain_ffn(c, layer, b.mixer);
}

Status forward(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    norm(c, b.x, c.weights.embedding_norm, c.weights.embedding_norm_bias, b.x);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        norm(c, b.x, w.attn_norm, w.attn_norm_bias, b.h);
        time_mix(c, layer);
        add_to_stream(c);
        norm(c, b.x, w.ffn_norm, w.ffn_norm_bias, b.h);
        channel_mix(c, layer);
        add_to_stream(c);
    }
    logits(c);
    return {};
}

}  // namespace

extern const Architecture kArch_rwkv7;
constinit const Architecture kArch_rwkv7 = {
    "rwkv7", {},      read_config,
    tensors, forward, {kClasses, kKeys, kTensors, "blocks.0.att.v0|blocks.0.att.v1|blocks.0.att.v2", false}};

}  // namespace sterna
