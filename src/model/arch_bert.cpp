// BERT and its descendants as text encoders (MiniLM, BGE, GTE, E5): "bert" files. Gives hidden states, not logits.
//
//   x = layer_norm(embedding + position embedding + embedding of token type 0)
//   per layer:  x = layer_norm(x + W_o attention(W_q x + b_q, W_k x + b_k, W_v x + b_v) + b_o)      every token sees
//   the whole text
//               x = layer_norm(x + W_down gelu(W_up x + b_up) + b_down)
//   output = x of each token; pooled to one vector by pool_rows()
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kNone);
    config.norm = NormKind::kLayer;
    config.norm_eps = float(reader.number("attention.layer_norm_epsilon", 0.0, 1.0, 1e-12));
    config.activation = Activation::kGeluErf;
    config.causal = false;
    constexpr Pooling kKinds[] = {Pooling::kNone, Pooling::kMean, Pooling::kCls, Pooling::kLast};  // by GGUF number
    config.pooling = kKinds[reader.integer("pooling_type", 0, 3, 1)];
    config.n_token_types = 1;
    return reader.finish(std::move(config));
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "embeddings.word_embeddings.weight", "width, vocab"},
    {&Weights::position_embedding, "position_embd.weight", "embeddings.position_embeddings.weight", "width, context"},
    {&Weights::token_type_embedding, "token_types.weight", "embeddings.token_type_embeddings.weight", "width, any",
     kOptional},
    {&Weights::embedding_norm, "token_embd_norm.weight", "embeddings.LayerNorm.weight", "width"},
    {&Weights::embedding_norm_bias, "token_embd_norm.bias", "embeddings.LayerNorm.bias", "width"},
    {&L::q, "blk.{}.attn_q.weight", "encoder.layer.{}.attention.self.query.weight", "width, q_width"},
    {BiasSlot{&L::q}, "blk.{}.attn_q.bias", "encoder.layer.{}.attention.self.query.bias", "q_width"},
    {&L::k, "blk.{}.attn_k.weight", "encoder.layer.{}.attention.self.key.weight", "width, k_width"},
    {BiasSlot{&L::k}, "blk.{}.attn_k.bias", "encoder.layer.{}.attention.self.key.bias", "k_width"},
    {&L::v, "blk.{}.attn_v.weight", "encoder.layer.{}.attention.self.value.weight", "width, v_width"},
    {BiasSlot{&L::v}, "blk.{}.attn_v.bias", "encoder.layer.{}.attention.self.value.bias", "v_width"},
    {&L::attn_output, "blk.{}.attn_output.weight", "encoder.layer.{}.attention.output.dense.weight", "o_width, width"},
    {BiasSlot{&L::attn_output}, "blk.{}.attn_output.bias", "encoder.layer.{}.attention.output.dense.bias", "width"},
    {&L::attn_output_norm, "blk.{}.attn_output_norm.weight", "encoder.layer.{}.attention.output.LayerNorm.weight",
     "width"},
    {&L::attn_output_norm_bias, "blk.{}.attn_output_norm.bias", "encoder.layer.{}.attention.output.LayerNorm.bias",
     "width"},
    {&L::up, "blk.{}.ffn_up.weight", "encoder.layer.{}.intermediate.dense.weight", "width, ffn"},
    {BiasSlot{&L::up}, "blk.{}.ffn_up.bias", "encoder.layer.{}.intermediate.dense.bias", "ffn"},
    {&L::down, "blk.{}.ffn_down.weight", "encoder.layer.{}.output.dense.weight", "ffn, width"},
    {BiasSlot{&L::down}, "blk.{}.ffn_down.bias", "encoder.layer.{}.output.dense.bias", "width"},
    {&L::layer_output_norm, "blk.{}.layer_output_norm.weight", "encoder.layer.{}.output.LayerNorm.weight", "width"},
    {&L::layer_output_norm_bias, "blk.{}.layer_output_norm.bias", "encoder.layer.{}.output.LayerNorm.bias", "width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return {std::begin(kTable), std::end(kTable)};
}

Status forward(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    norm(c, b.x, c.weights.embedding_norm, c.weights.embedding_norm_bias, b.x);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        attention(c, layer, b.x);
        add_to_stream(c);
        norm(c, b.x, w.attn_output_norm, w.attn_output_norm_bias, b.x);
        plain_ffn(c, layer, b.x);
        add_to_stream(c);
        norm(c, b.x, w.layer_output_norm, w.layer_output_norm_bias, b.x);
    }
    hidden_states(c);
    return {};
}

constexpr HfClass kClasses[] = {{"BertModel"}, {"BertForMaskedLM"}, {"BertForPreTraining"}};
constexpr HfKey kKeys[] = {
    {"layer_norm_eps", "attention.layer_norm_epsilon", HfKind::kFloat, "0.000000000001"},
    {"", "attention.causal", HfKind::kBool, "false"},
    {"sentence_pooling", "pooling_type", HfKind::kInt, "1", "none=0|mean=1|cls=2|lasttoken=3"},
    {"hidden_act", "", HfKind::kIs, "gelu", "gelu"},
    {"position_embedding_type", "", HfKind::kIs, "absolute", "absolute"},
};

}  // namespace

extern const Architecture kArch_bert;
constinit const Architecture kArch_bert = {"bert",  {},      read_config,
                                           tensors, forward, {kClasses, kKeys, {}, "*pooler.*|cls.*"}};

}  // namespace sterna
