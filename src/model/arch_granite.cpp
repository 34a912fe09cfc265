// Granite 3 (dense): "granite" files. Llama with four scales.
//
//   x = embedding * embedding_scale
//   per layer:  h = rms_norm(x);  x += residual_scale * W_o attention(rope(W_q h), rope(W_k h), W_v h)     rope over
//   adjacent pairs;
//               h = rms_norm(x);  x += residual_scale * W_down (silu(W_gate h) * W_up h)                 q.k times
//               attention.scale
//   logits = W_out rms_norm(x) / logit_scale                                                             W_out may be
//   the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kAdjacent);
    config.embedding_scale = float(reader.number("embedding_scale", -1e6, 1e6, 1.0));
    config.residual_scale = float(reader.number("residual_scale", -1e6, 1e6, 1.0));
    config.logit_scale = float(1.0 / reader.number("logit_scale", 1e-6, 1e6, 1.0));
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {&Weights::rope_factors, "rope_freqs.weight", "", "rope_pairs", kOptional},
};

std::vector<TensorSpec> tensors(const Config&) {
    std::vector<TensorSpec> table;
    tables::append(table, tables::kStem);
    tables::append(table, kOwn);
    tables::append(table, tables::kPreNorms);
    tables::append(table, tables::kAttentionAdjacent);
    tables::append(table, tables::kGatedFfn);
    tables::append(table, tables::kFfnBiases);
    return table;
}

Status forward(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        norm(c, b.x, w.attn_norm, b.h);
        attention(c, layer, b.h);
        add_to_stream(c);
        norm(c, b.x, w.ffn_norm, b.h);
        gated_ffn(c, layer, b.h);
        add_to_stream(c);
    }
    logits(c);
    return {};
}

}  // namespace

extern const Architecture kArch_granite;
constinit const Architecture kArch_granite = {"granite", {}, read_config, tensors, forward};

}  // namespace sterna
