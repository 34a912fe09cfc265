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
        add(experts.bias);
    }
    ModelId finish() { return hash_.finish(); }

private:
    Sha256 hash_;
};

void add_config(IdWriter& id, const Config& c) {
    id.add(c.architecture);
    for (int64_t value : {c.n_layers, c.width, c.vocab_size, c.context_length, c.head_dim_k, c.head_dim_v,
                          c.sliding_window, c.n_experts, c.n_experts_used, c.expert_ffn_width, c.shared_ffn_width,
                          c.n_dense_layers, c.n_expert_groups, c.n_expert_groups_used, c.n_token_types})
        id.add(value);
    id.add_list(c.n_heads);
    id.add_list(c.n_kv_heads);
    id.add_list(c.ffn_width);
    id.add_list(c.layer_head_dim_k);
    id.add_list(c.layer_head_dim_v);
    id.add_list(c.kv_layer);
    id.add_list(c.recurrent_bytes);
    id.add_list(c.is_sliding);
    id.add_list(c.no_rope);
    for (float value : {c.norm_eps, c.attention_scale, c.attention_softcap, c.logit_softcap, c.embedding_scale,
                        c.residual_scale, c.logit_scale, c.expert_weights_scale})
        id.add(value);
    id.add(c.expert_weights_norm);
    id.add(c.expert_gating);
    for (int64_t value :
         {c.recurrent.kernel, c.recurrent.channels, c.recurrent.n_heads, c.recurrent.n_key_heads, c.recurrent.key_dim,
          c.recurrent.value_dim, c.latent.q_rank, c.latent.rank, c.latent.nope_dim, c.latent.value_dim})
        id.add(value);
    id.add(c.value_norm);
    id.add(c.per_layer_width);
    id.add(c.parallel_sublayers);
    id.add(c.causal);
    id.add(c.norm);
    id.add(c.activation);
    id.add(c.pooling);
    id.add(c.rope.style);
    id.add(c.rope.scaling);
    id.add(c.rope.n_dims);
    id.add(c.rope.n_dims_local);
    id.add(c.rope.rounded_ramp);
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
    id.add(w.per_layer_embedding);
    id.add(w.per_layer_model_proj);
    id.add(w.per_layer_proj_norm);
    for (const LayerWeights& layer : w.layers) {
        for (auto values : kLayerVectors) id.add(layer.*values);
        for (auto linear : kLayerLinears) id.add(layer.*linear);
        for (auto experts : kLayerExperts) id.add(layer.*experts);
    }
    return id.finish();
}

}  // namespace sterna
