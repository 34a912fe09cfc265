// Any sizes and peculiarities in the metadata of every architecture, with tensors that fit them: refused with a sentence, or a model
// that computes. The input: the architecture's number, then records of a key's number, a kind and a value.
#include "model_use.h"

namespace {

constexpr const char* kKeys[] = {"block_count",
                                 "context_length",
                                 "embedding_length",
                                 "feed_forward_length",
                                 "attention.head_count",
                                 "attention.head_count_kv",
                                 "attention.key_length",
                                 "attention.value_length",
                                 "attention.layer_norm_rms_epsilon",
                                 "attention.layer_norm_epsilon",
                                 "attention.scale",
                                 "attention.sliding_window",
                                 "attention.sliding_window_pattern",
                                 "attn_logit_softcapping",
                                 "final_logit_softcapping",
                                 "embedding_scale",
                                 "residual_scale",
                                 "logit_scale",
                                 "expert_count",
                                 "expert_used_count",
                                 "expert_feed_forward_length",
                                 "expert_shared_feed_forward_length",
                                 "expert_weights_norm",
                                 "expert_weights_scale",
                                 "expert_group_count",
                                 "expert_group_used_count",
                                 "expert_gating_func",
                                 "leading_dense_block_count",
                                 "rope.dimension_count",
                                 "rope.freq_base",
                                 "rope.freq_base_swa",
                                 "rope.scale_linear",
                                 "rope.scaling.factor",
                                 "rope.scaling.original_context_length",
                                 "rope.scaling.attn_factor",
                                 "rope.scaling.yarn_beta_fast",
                                 "rope.scaling.yarn_beta_slow",
                                 "rope.scaling.yarn_ext_factor",
                                 "pooling_type",
                                 "use_parallel_residual",
                                 "attention.causal",
                                 "attention.kv_lora_rank",
                                 "attention.q_lora_rank",
                                 "attention.key_length_mla",
                                 "attention.value_length_mla",
                                 "expert_shared_count",
                                 "rope.scaling.yarn_log_multiplier",
                                 "ssm.conv_kernel",
                                 "ssm.time_step_rank",
                                 "ssm.group_count",
                                 "ssm.state_size",
                                 "ssm.inner_size",
                                 "full_attention_interval",
                                 "shortconv.l_cache",
                                 "rope.scaling.type"};
constexpr const char* kScalings[] = {"none", "linear", "yarn", "longrope", "other"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    ByteReader input({data, size});
    const auto architectures = all_architectures();
    SyntheticModel model(*architectures[input.read<uint8_t>().value_or(0) % architectures.size()]);
    auto byte = [&] { return input.read<uint8_t>().value_or(0); };
    while (input.remaining() > 1) {
        const std::string key = kKeys[byte() % std::size(kKeys)];
        if (key == "rope.scaling.type") {
            model.set_text(key, kScalings[byte() % std::size(kScalings)]);
            continue;
        }
        switch (byte() % 5) {
            case 0:
            case 1:
                model.set_int(key, int8_t(byte()));
                break;
            case 2:
                model.set_int(key, input.read<int32_t>().value_or(-1));
                break;
            case 3:
                model.set_number(key, input.read<double>().value_or(0.5));
                break;
            default:
                model.set_ints(key, {int8_t(byte()), int8_t(byte()), int8_t(byte())});
                break;
        }
    }
    (void)plan_model(model, {});  // with the limits that users have
    if (!model.make_tensors(fuzz_limits())) return 0;
    ThreadPool pool(1);
    auto loaded = Model::load(model, model, {.pool = &pool, .limits = fuzz_limits(), .cancel = nullptr});
    if (!loaded) {
        require(!loaded.error().message.empty() && loaded.error().message.size() < 1000);
        return 0;
    }
    use_model(**loaded, pool);
    return 0;
}
