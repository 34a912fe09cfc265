#include <type_traits>

#include "engine/engine.h"
#include "base/sha256.h"

namespace sterna {

namespace {

class IdWriter {
public:
    template <typename T>
        requires std::is_arithmetic_v<T> || std::is_enum_v<T>
    void add(T value) {
        if constexpr (std::is_floating_point_v<T>) {
            double wide = double(value);
            hash_.update(&wide, sizeof wide);
        } else {
            int64_t wide = int64_t(value);
            hash_.update(&wide, sizeof wide);
        }
    }
    void add(std::string_view text) {
        add(text.size());
        hash_.update(text.data(), text.size());
    }
    template <typename T>
    void add_list(const std::vector<T>& values) {
        add(values.size());
        for (auto value : values) add(value);
    }
    void add(const std::vector<float>& values) {
        add(values.size());
        hash_.update(values.data(), values.size() * sizeof(float));
    }
    void add(const PackedMatrix& matrix) {
        add(matrix.type());
        add(matrix.n_rows());
        add(matrix.n_cols());
    }
    void add(const Linear& linear) {
        add(linear.weight);
        add(linear.bias);
        add(linear.scale);
    }
    void add(const Experts& experts) {
        add(experts.matrices.size());
        for (const PackedMatrix& matrix : experts.matrices) add(matrix);
    }
    ModelId finish() { return hash_.finish(); }

private:
    Sha256 hash_;
};

void add_config(IdWriter& id, const Config& c) {
    id.add(c.architecture);
    for (int64_t value : {c.n_layers, c.width, c.vocab_size, c.context_length, c.head_dim_k, c.head_dim_v,
                          c.sliding_window, c.n_experts, c.n_experts_used, c.expert_ffn_width, c.n_token_types})
        id.add(value);
    id.add_list(c.n_heads);
    id.add_list(c.n_kv_heads);
    id.add_list(c.ffn_width);
    id.add_list(c.layer_head_dim_k);
    id.add_list(c.layer_head_dim_v);
    id.add_list(c.kv_layer);
    id.add_list(c.recurrent_bytes);
    id.add_list(c.is_sliding);
    for (float value : {c.norm_eps, c.attention_scale, c.attention_softcap, c.logit_softcap, c.embedding_scale,
                        c.residual_scale, c.logit_scale, c.expert_weights_scale})
        id.add(value);
    id.add(c.expert_weights_norm);
    id.add(c.causal);
    id.add(c.norm);
    id.add(c.activation);
    id.add(c.pooling);
    id.add(c.rope.style);
    id.add(c.rope.scaling);
    id.add(c.rope.n_dims);
    id.add(c.rope.original_context);
    for (double value : {c.rope.theta, c.rope.theta_local, c.rope.factor, c.rope.attention_factor,
                         c.rope.extrapolation_factor, c.rope.beta_fast, c.rope.beta_slow})
        id.add(value);
}

}  // namespace

ModelId model_id(const Model& model) {
    IdWriter id;
    id.add(std::string_view("sterna model id 1"));
    add_config(id, model.config());
    const Weights& w = model.weights();
    for (const auto* frequencies : {&w.rope.global, &w.rope.local, &w.rope.extended}) id.add_list(*frequencies);
    id.add(w.token_embedding);
    id.add(w.position_embedding.size());
    id.add(w.token_type_embedding.size());
    for (const auto* values : {&w.embedding_norm, &w.embedding_norm_bias, &w.output_norm, &w.output_norm_bias,
                               &w.rope_factors, &w.rope_factors_long, &w.rope_factors_short})
        id.add(*values);
    id.add(w.output);
    for (const LayerWeights& layer : w.layers) {
        for (const auto* values :
             {&layer.attn_norm, &layer.attn_norm_bias, &layer.attn_q_norm, &layer.attn_k_norm, &layer.attn_sub_norm,
              &layer.attn_output_norm, &layer.attn_output_norm_bias, &layer.post_attention_norm, &layer.ffn_norm,
              &layer.ffn_sub_norm, &layer.post_ffn_norm, &layer.layer_output_norm, &layer.layer_output_norm_bias})
            id.add(*values);
        for (const auto* linear : {&layer.q, &layer.k, &layer.v, &layer.qkv, &layer.attn_output, &layer.gate, &layer.up,
                                   &layer.down, &layer.gate_up, &layer.router})
            id.add(*linear);
        for (const auto* experts : {&layer.gate_experts, &layer.up_experts, &layer.down_experts}) id.add(*experts);
    }
    return id.finish();
}

}  // namespace sterna
