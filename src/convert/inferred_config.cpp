#include "convert/inferred_config.h"

#include <nlohmann/json.hpp>

namespace sterna {

std::string inferred_config(const Checkpoint& checkpoint) {
    // The extent of a matrix; 0: there is no such matrix.
    auto extent = [&](const std::string& name, size_t dimension) -> int64_t {
        const CheckpointTensor* tensor = checkpoint.find(name);
        return tensor && tensor->shape.size() == 2 ? tensor->shape[dimension] : 0;
    };
    if (!extent("emb.weight", 0) || !extent("blocks.0.att.w1", 0) || !extent("blocks.0.att.r_k", 0)) return {};
    int64_t n_layers = 0;
    while (checkpoint.find(fmt::format("blocks.{}.ln1.weight", n_layers))) ++n_layers;
    const int64_t iclr_rank = extent("blocks.0.att.a1", 1), value_rank = extent("blocks.1.att.v1", 1);
    nlohmann::json config = {{"architectures", {"RWKV7ForCausalLM"}},
                             {"model_type", "rwkv7"},
                             {"vocab_size", extent("emb.weight", 0)},
                             {"hidden_size", extent("emb.weight", 1)},
                             {"num_hidden_layers", n_layers},
                             {"head_dim", extent("blocks.0.att.r_k", 1)},
                             {"intermediate_size", extent("blocks.0.ffn.key.weight", 0)},
                             {"decay_low_rank_dim", extent("blocks.0.att.w1", 1)},
                             {"a_low_rank_dim", iclr_rank},
                             {"v_low_rank_dim", value_rank ? value_rank : iclr_rank},  // one layer has none
                             {"gate_low_rank_dim", extent("blocks.0.att.g1", 1)},
                             {"norm_eps", 1e-5},
                             {"tie_word_embeddings", false}};
    return config.dump();
}

}  // namespace sterna
