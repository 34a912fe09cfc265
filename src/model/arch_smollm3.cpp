// SmolLM3 (3B): "smollm3" files. Llama's layers, of which every fourth leaves q and k unturned.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o attention(rope(W_q h), rope(W_k h), W_v h)     rope over adjacent pairs, but
//                                                                           not in layers 3, 7, 11, ...
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)                                              W_out may be the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

constexpr size_t kNoRopeEvery = 4;  // files do not say it; all published models have this interval

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kAdjacent);
    config.no_rope.assign(size_t(config.n_layers), false);
    for (size_t layer = kNoRopeEvery - 1; layer < config.no_rope.size(); layer += kNoRopeEvery)
        config.no_rope[layer] = true;
    return reader.finish(std::move(config));
}

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, tables::kAttentionAdjacent, tables::kGatedFfn});
}

constexpr HfClass kClasses[] = {{"SmolLM3ForCausalLM"}};
constexpr HfKey kKeys[] = {
    {"no_rope_layer_interval", "", HfKind::kIs, "4", "4"},
    {"use_sliding_window", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_smollm3;
constinit const Architecture kArch_smollm3 = {"smollm3", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
