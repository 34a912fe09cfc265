// Qwen3 (dense): "qwen3" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  q, k = rope(rms_norm per head of W_q h, W_k h)          rope over halves, GQA, head
//   size of its own
//               x += W_o attention(q, k, W_v h)
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)                                                           W_out may be the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    return reader.finish(reader.common(RopeStyle::kHalf));
}

std::vector<TensorSpec> tensors(const Config&) {
    std::vector<TensorSpec> table;
    tables::append(table, tables::kStem);
    tables::append(table, tables::kPreNorms);
    tables::append(table, tables::kAttention);
    tables::append(table, tables::kHeadNorms);
    tables::append(table, tables::kGatedFfn);
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

extern const Architecture kArch_qwen3;
constinit const Architecture kArch_qwen3 = {"qwen3", {}, read_config, tensors, forward};

}  // namespace sterna
