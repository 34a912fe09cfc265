// config.json to GGUF keys: names of several generations, RoPE in its several spellings, and what is refused.
#include <cmath>

#include "convert/hf_config.h"
#include "support.h"

namespace sterna {
namespace {

constexpr const char* kLlama = R"("architectures":["LlamaForCausalLM"],"hidden_size":64,"num_hidden_layers":2,
    "num_attention_heads":4,"intermediate_size":96,"max_position_embeddings":128,"vocab_size":32)";

struct Read {
    HfConfig config;
    std::unique_ptr<GgufFile> file;
    std::vector<uint8_t> bytes;
    std::string error;

    double number(const std::string& key) const { return file->get_float("llama." + key).value_or(-1); }
    std::string text(const std::string& key) const {
        return std::string(file->get_string("llama." + key).value_or(""));
    }
};

Read read(const std::string& json, std::string_view generation = {}, std::string_view pooling = {}) {
    Read result;
    GgufWriter writer;
    auto config = read_hf_config({json, generation, pooling}, "config.json", writer);
    if (!config) {
        result.error = config.error().message;
        return result;
    }
    result.config = *std::move(config);
    result.bytes = *writer.to_bytes();
    result.file = *GgufFile::from_bytes(result.bytes, "keys");
    return result;
}

Read llama(const std::string& more) {
    return read(std::string("{") + kLlama + (more.empty() ? "" : ",") + more + "}");
}

TEST(HfConfig, CommonKeys) {
    const Read found =
        llama(R"("num_key_value_heads":2,"rms_norm_eps":1e-05,"tie_word_embeddings":true,"rope_theta":500000.0)");
    ASSERT_EQ(found.error, "");
    EXPECT_EQ(found.config.name, "llama");
    EXPECT_EQ(found.config.tied, HfConfig::Tied::kYes);
    EXPECT_EQ(found.number("block_count"), 2);
    EXPECT_EQ(found.number("attention.head_count_kv"), 2);
    EXPECT_EQ(found.number("attention.layer_norm_rms_epsilon"), double(1e-5f));
    EXPECT_EQ(found.number("rope.freq_base"), 500000);
    EXPECT_EQ(found.number("rope.dimension_count"), 16);
    EXPECT_FALSE(found.file->has("llama.attention.sliding_window"));
    EXPECT_EQ(found.file->get_string("general.architecture"), "llama");
    EXPECT_EQ(llama(R"("sliding_window":4096)").number("attention.sliding_window"), 4096);
    EXPECT_EQ(llama(R"("sliding_window":null)").error, "");
    EXPECT_EQ(llama("").config.tied, HfConfig::Tied::kUnknown);
}

TEST(HfConfig, RopeOfSeveralGenerations) {
    for (const char* json : {R"("rope_theta":10000.0,"rope_scaling":{"type":"linear","factor":4.0})",
                             R"("rope_theta":10000.0,"rope_scaling":{"rope_type":"linear","factor":4.0})",
                             R"("rope_parameters":{"rope_type":"linear","factor":4.0,"rope_theta":10000.0})"}) {
        const Read found = llama(json);
        ASSERT_EQ(found.error, "") << json;
        EXPECT_EQ(found.text("rope.scaling.type"), "linear");
        EXPECT_EQ(found.number("rope.scaling.factor"), 4);
        EXPECT_EQ(found.number("rope.freq_base"), 10000);
    }
    const Read yarn = llama(R"("rope_theta":10000.0,"rope_scaling":{"rope_type":"yarn","factor":4.0,
        "original_max_position_embeddings":32,"attention_factor":2.0,"beta_fast":16})");
    EXPECT_EQ(yarn.text("rope.scaling.type"), "yarn");
    EXPECT_EQ(yarn.number("rope.scaling.original_context_length"), 32);
    EXPECT_EQ(yarn.number("rope.scaling.yarn_beta_fast"), 16);
    EXPECT_NEAR(yarn.number("rope.scaling.attn_factor"), 2.0 / (1.0 + 0.1 * std::log(4.0)), 1e-6);
    const Read partial = llama(R"("rope_theta":10000.0,"partial_rotary_factor":0.5)");
    EXPECT_EQ(partial.number("rope.dimension_count"), 8);
    EXPECT_EQ(llama(R"("rope_scaling":{"type":"dynamic","factor":2.0})").config.notes.size(), 1u);
    EXPECT_EQ(llama(R"("rope_scaling":{"rope_type":"default","mrope_section":[4,2,2]})").error, "");
}

// The divisors of Llama 3.1, as published: factor 8, bands 1 and 4, context 8192, base 500000, 128 dimensions.
TEST(HfConfig, Llama3Divisors) {
    const Read found = llama(R"("head_dim":128,"rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,
        "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192})");
    ASSERT_EQ(found.error, "");
    const auto& divisors = found.config.rope_factors;
    ASSERT_EQ(divisors.size(), 64u);
    EXPECT_EQ(divisors[0], 1.0f);
    EXPECT_EQ(divisors[28], 1.0f);  // turns 4.2 times in 8192 positions
    EXPECT_GT(divisors[29], 1.0f);
    EXPECT_LT(divisors[34], 8.0f);
    EXPECT_EQ(divisors[35], 8.0f);  // less than once
    EXPECT_EQ(divisors[63], 8.0f);
    for (size_t i = 1; i < divisors.size(); ++i) EXPECT_GE(divisors[i], divisors[i - 1]);
    EXPECT_FALSE(found.file->has("llama.rope.scaling.type"));
}

TEST(HfConfig, NestedTextConfig) {
    const Read found = read(R"({"architectures":["Gemma3ForConditionalGeneration"],"vision_config":{"hidden_size":7},
        "text_config":{"hidden_size":64,"num_hidden_layers":12,"intermediate_size":96,"sliding_window":32,
                       "rope_scaling":{"rope_type":"linear","factor":8.0}}})");
    ASSERT_EQ(found.error, "");
    EXPECT_EQ(found.file->get_int("gemma3.embedding_length"), 64);
    EXPECT_EQ(found.file->get_int("gemma3.attention.head_count"), 8);  // left out there, as published
    EXPECT_EQ(found.file->get_float("gemma3.rope.freq_base"), 1e6);
    EXPECT_EQ(found.file->get_float("gemma3.attention.scale"), 0.0625);
    EXPECT_EQ(found.file->get_float("gemma3.rope.scaling.factor"), 8);
}

TEST(HfConfig, LayerTypes) {
    auto gemma = [](const std::string& types) {
        return read(
            R"({"architectures":["Gemma3ForCausalLM"],"hidden_size":64,"num_hidden_layers":4,"intermediate_size":96,
            "layer_types":)" +
            types + "}");
    };
    const char* s = R"("sliding_attention")";
    const char* f = R"("full_attention")";
    const Read found = gemma(fmt::format("[{0},{1},{0},{1}]", s, f));
    ASSERT_EQ(found.error, "");
    EXPECT_EQ(found.file->get_int("gemma3.attention.sliding_window_pattern"), 2);
    EXPECT_EQ(gemma(fmt::format("[{0},{0},{0},{0}]", s)).file->get_int("gemma3.attention.sliding_window_pattern"), 5);
    EXPECT_EQ(gemma(fmt::format("[{0},{1},{1},{0}]", s, f)).error,
              "config.json: layer_types: layer 2 breaks the order of one in 2");
    EXPECT_EQ(gemma("7").error, "config.json: layer_types: 7, expected a list with one text per layer");
}

TEST(HfConfig, SamplingAndPooling) {
    const Read found =
        read(std::string("{") + kLlama + "}", R"({"temperature":0.6,"top_k":20,"top_p":0.95,"eos_token_id":[1,2]})");
    ASSERT_EQ(found.error, "");
    EXPECT_EQ(found.file->get_int("general.sampling.top_k"), 20);
    EXPECT_EQ(found.file->get_float("general.sampling.temp"), double(0.6f));
    const std::string bert =
        R"({"architectures":["BertModel"],"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":96,"max_position_embeddings":128})";
    EXPECT_EQ(read(bert).file->get_int("bert.pooling_type"), 1);
    EXPECT_EQ(read(bert, {}, R"({"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false})")
                  .file->get_int("bert.pooling_type"),
              2);
    EXPECT_EQ(read(bert).file->get_bool("bert.attention.causal"), false);
}

TEST(HfConfig, Refusals) {
    EXPECT_EQ(read("[]").error, "config.json: not a JSON object");
    EXPECT_EQ(read("{}").error, "config.json: names no architecture (\"architectures\")");
    EXPECT_EQ(read(R"({"architectures":["NoSuchModel"]})").error.substr(0, 59),
              "config.json: architecture \"NoSuchModel\" is not known; known");
    EXPECT_EQ(llama(R"("hidden_act":"tanh")").error, "config.json: hidden_act: tanh, expected silu or swish");
    EXPECT_EQ(llama(R"("num_kv_heads":2.5)").error, "config.json: num_kv_heads: 2.5, expected an integer");
    EXPECT_EQ(llama(R"("rms_norm_eps":"small")").error, "config.json: rms_norm_eps: \"small\", expected a number");
    EXPECT_EQ(llama(R"("rope_scaling":7)").error, "config.json: rope_scaling: not an object");
    EXPECT_EQ(llama(R"("rope_scaling":{"type":"linear"})").error, "config.json: linear RoPE scaling without a factor");
    EXPECT_EQ(llama(R"("rope_scaling":{"type":"yarn","factor":1e300})").error,
              "config.json: yarn RoPE scaling without a factor");
    EXPECT_EQ(llama(R"("rope_scaling":{"type":"longrope"})").error,
              "config.json: longrope scaling without long_factor");
    EXPECT_EQ(llama(R"("rope_theta":1e4,"head_dim":1e300)").error.substr(0, 12), "config.json:");
    EXPECT_EQ(llama(R"("head_dim":99999999999999999999)").error.substr(0, 12), "config.json:");
}

}  // namespace
}  // namespace sterna
