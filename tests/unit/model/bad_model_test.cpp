// Metadata and tensors as a hostile or broken file would have them: one sentence each, no crash, no huge allocation.
#include <limits>
#include <map>

#include "harness.h"

namespace sterna {
namespace {

// A value that replaces what a file says; all empty: the key is gone.
struct Patch {
    std::optional<int64_t> integer = std::nullopt;
    std::optional<double> number = std::nullopt;
    std::optional<std::string> text = std::nullopt;
    std::optional<std::vector<int64_t>> integers = std::nullopt;
};

class PatchedMetadata : public Metadata {
public:
    explicit PatchedMetadata(const Metadata& base) : base_(base) {}
    std::map<std::string, Patch, std::less<>> patches;

    bool has(std::string_view key) const override {
        const Patch* patch = find(key);
        if (!patch) return base_.has(key);
        return patch->integer || patch->number || patch->text || patch->integers;
    }
    std::optional<int64_t> get_int(std::string_view key) const override {
        const Patch* patch = find(key);
        return patch ? patch->integer : base_.get_int(key);
    }
    std::optional<double> get_float(std::string_view key) const override {
        const Patch* patch = find(key);
        if (!patch) return base_.get_float(key);
        if (patch->integer) return double(*patch->integer);
        return patch->number;
    }
    std::optional<bool> get_bool(std::string_view key) const override {
        return find(key) ? std::nullopt : base_.get_bool(key);
    }
    std::optional<std::string_view> get_string(std::string_view key) const override {
        const Patch* patch = find(key);
        if (!patch) return base_.get_string(key);
        return patch->text ? std::optional<std::string_view>(*patch->text) : std::nullopt;
    }
    std::optional<std::vector<int64_t>> get_ints(std::string_view key) const override {
        const Patch* patch = find(key);
        return patch ? patch->integers : base_.get_ints(key);
    }
    std::optional<std::vector<double>> get_floats(std::string_view key) const override { return base_.get_floats(key); }
    std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const override {
        return base_.get_strings(key);
    }

private:
    const Patch* find(std::string_view key) const {
        auto at = patches.find(key);
        return at == patches.end() ? nullptr : &at->second;
    }
    const Metadata& base_;
};

class PatchedTensors : public TensorSource {
public:
    explicit PatchedTensors(const TensorSource& base) : base_(base) {}
    std::map<std::string, std::optional<TensorView>, std::less<>> patches;

    const TensorView* find_tensor(std::string_view name) const override {
        auto at = patches.find(name);
        if (at == patches.end()) return base_.find_tensor(name);
        return at->second ? &*at->second : nullptr;
    }

private:
    const TensorSource& base_;
};

std::string load_error(const Metadata& metadata, const TensorSource& tensors) {
    ThreadPool pool(1);
    auto model = Model::load(metadata, tensors, {.pool = &pool, .limits = {}, .cancel = nullptr});
    return model ? "" : model.error().message;
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

struct Case {
    const char* file;
    const char* key;
    Patch patch;
    const char* message;
};

const Case kBadMetadata[] = {
    {"llama", "general.architecture", {}, "general.architecture: missing, expected one of bert, bitnet, "},
    {"llama",
     "general.architecture",
     {.text = "mamba"},
     "general.architecture: \"mamba\", expected one of bert, bitnet, "},
    {"llama", "llama.block_count", {}, "llama.block_count: missing, expected a number from 1 to 1024"},
    {"llama", "llama.block_count", {.integer = 0}, "llama.block_count: 0, expected 1 to 1024"},
    {"llama", "llama.block_count", {.integer = -1}, "llama.block_count: -1, expected 1 to 1024"},
    {"llama",
     "llama.block_count",
     {.integer = int64_t(1) << 60},
     "llama.block_count: 1152921504606846976, expected 1 to 1024"},
    {"llama", "llama.block_count", {.text = "two"}, "llama.block_count: not an integer, expected one from 1 to 1024"},
    {"llama", "llama.block_count", {.number = 2.5}, "llama.block_count: not an integer, expected one from 1 to 1024"},
    {"llama", "llama.block_count", {.integer = 3}, "blk.2.attn_norm.weight: missing, expected shape [48]"},
    {"llama", "llama.embedding_length", {.integer = 0}, "llama.embedding_length: 0, expected 1 to 131072"},
    {"llama",
     "llama.embedding_length",
     {.integer = 64},
     "llama.embedding_length: 64 does not split into 6 heads of at most 1024"},
    {"llama", "llama.embedding_length", {.integer = 60}, "token_embd.weight: shape [48, 72], expected [60, 72]"},
    {"llama",
     "llama.embedding_length",
     {.integer = 6144 + 6},
     "llama.embedding_length: 6150 does not split into 6 heads of at most 1024"},
    {"llama", "llama.context_length", {.integer = 0}, "llama.context_length: 0, expected 1 to 16777216"},
    {"llama", "llama.context_length", {}, "llama.context_length: missing, expected a number from 1 to 16777216"},
    {"llama", "llama.attention.head_count", {.integer = 0}, "llama.attention.head_count: 0, expected 1 to 4096"},
    {"llama", "llama.attention.head_count", {.integer = 5000}, "llama.attention.head_count: 5000, expected 1 to 4096"},
    {"llama",
     "llama.attention.head_count_kv",
     {.integer = 4},
     "llama.attention.head_count: 6 heads cannot share 4 KV heads evenly"},
    {"llama", "llama.attention.head_count_kv", {.integer = 0}, "llama.attention.head_count_kv: 0, expected 1 to 4096"},
    {"llama",
     "llama.attention.head_count_kv",
     {.integers = std::vector<int64_t>{2}},
     "llama.attention.head_count_kv: 1 values, expected one for each of 2 layers"},
    {"llama",
     "llama.attention.head_count_kv",
     {.integers = std::vector<int64_t>{2, -2}},
     "llama.attention.head_count_kv: -2, expected 1 to 4096"},
    {"llama",
     "llama.attention.head_count_kv",
     {.integers = std::vector<int64_t>{2, 3}},
     "blk.1.attn_k.weight: shape [48, 16], expected [48, 24]"},
    {"llama",
     "llama.attention.head_count_kv",
     {.text = "x"},
     "llama.attention.head_count_kv: neither an integer nor an array of them"},
    {"llama", "llama.attention.key_length", {.integer = 4096}, "llama.attention.key_length: 4096, expected 1 to 1024"},
    {"llama", "llama.attention.value_length", {.integer = 0}, "llama.attention.value_length: 0, expected 1 to 1024"},
    {"llama",
     "llama.attention.value_length",
     {.integer = 16},
     "blk.0.attn_v.weight: shape [48, 16], expected [48, 32]"},
    {"llama", "llama.feed_forward_length", {}, "llama.feed_forward_length: missing or 0"},
    {"llama", "llama.feed_forward_length", {.integer = 47}, "blk.0.ffn_gate.weight: shape [48, 48], expected [48, 47]"},
    {"llama",
     "llama.feed_forward_length",
     {.integer = int64_t(1) << 40},
     "llama.feed_forward_length: 1099511627776, expected 0 to 1048576"},
    {"llama",
     "llama.attention.layer_norm_rms_epsilon",
     {.number = kNan},
     "llama.attention.layer_norm_rms_epsilon: nan, expected 0 to 1"},
    {"llama",
     "llama.attention.layer_norm_rms_epsilon",
     {.number = -1.0},
     "llama.attention.layer_norm_rms_epsilon: -1, expected 0 to 1"},
    {"llama",
     "llama.attention.layer_norm_rms_epsilon",
     {.text = "small"},
     "llama.attention.layer_norm_rms_epsilon: not a number"},
    {"llama", "llama.rope.dimension_count", {.integer = 7}, "llama.rope.dimension_count: 7, expected an even number"},
    {"llama", "llama.rope.dimension_count", {.integer = 10}, "llama.rope.dimension_count: 10, expected 2 to 8"},
    {"llama", "llama.rope.dimension_count", {.integer = 6}, "rope_freqs.weight: shape [4], expected [3]"},
    {"llama", "llama.rope.freq_base", {.number = 0.0}, "llama.rope.freq_base: 0, expected 1.001 to 1000000000000"},
    {"llama",
     "llama.rope.freq_base",
     {.number = kInfinity},
     "llama.rope.freq_base: inf, expected 1.001 to 1000000000000"},
    {"llama",
     "llama.rope.scaling.type",
     {.text = "magic"},
     "llama.rope.scaling.type: \"magic\", expected none, linear, yarn or longrope"},
    {"llama", "llama.rope.scaling.factor", {.number = 0.0}, "llama.rope.scaling.factor: 0, expected 0.001 to 1000000"},
    {"llama",
     "llama.attention.scale",
     {.number = kInfinity},
     "llama.attention.scale: inf, expected -1000000 to 1000000"},
    {"llama",
     "llama.attention.sliding_window",
     {.integer = -1},
     "llama.attention.sliding_window: -1, expected 0 to 1099511627776"},
    {"llama", "llama.expert_count", {.integer = 4}, "llama.expert_used_count: missing, expected a number from 1 to 4"},
    {"llama-mixtral",
     "llama.expert_count",
     {.integer = 5},
     "blk.0.ffn_gate_inp.weight: shape [32, 4], expected [32, 5]"},
    {"llama-mixtral", "llama.expert_count", {.integer = 100000}, "llama.expert_count: 100000, expected 0 to 1024"},
    {"llama-mixtral", "llama.expert_count", {}, "blk.0.ffn_gate.weight: missing, expected shape [32, 24]"},
    {"llama-mixtral", "llama.expert_used_count", {.integer = 5}, "llama.expert_used_count: 5, expected 1 to 4"},
    {"llama-mixtral", "llama.expert_used_count", {.integer = 0}, "llama.expert_used_count: 0, expected 1 to 4"},
    {"llama-mixtral",
     "llama.expert_feed_forward_length",
     {.integer = 0},
     "llama.expert_feed_forward_length: 0, expected 1 to 1048576"},
    {"llama-mixtral",
     "llama.expert_weights_scale",
     {.number = kNan},
     "llama.expert_weights_scale: nan, expected 0 to 1000000"},
    {"qwen", "qwen.feed_forward_length", {.integer = 81}, "qwen.feed_forward_length: 81, expected an even number"},
    {"qwen3moe", "qwen3moe.expert_count", {}, "qwen3moe.expert_count: missing or 0"},
    {"gemma3",
     "gemma3.attention.sliding_window_pattern",
     {.integer = 0},
     "gemma3.attention.sliding_window_pattern: 0, expected 1 to 1024"},
    {"gemma3",
     "gemma3.final_logit_softcapping",
     {.number = -1.0},
     "gemma3.final_logit_softcapping: -1, expected 0 to 1000000"},
    {"granite", "granite.logit_scale", {.number = 0.0}, "granite.logit_scale: 0, expected 1e-06 to 1000000"},
    {"phi3",
     "phi3.rope.scaling.original_context_length",
     {.integer = 0},
     "phi3.rope.scaling.original_context_length: 0, expected 1 to 16777216"},
    {"bert", "bert.pooling_type", {.integer = 9}, "bert.pooling_type: 9, expected 0 to 3"},
    {"bert", "bert.context_length", {.integer = 41}, "position_embd.weight: shape [32, 40], expected [32, 41]"},
};

TEST(BadModel, MetadataIsRefusedWithASentence) {
    std::map<std::string, TestModel> models;
    for (const Case& item : kBadMetadata) {
        TestModel& test = models[item.file];
        if (!test.file) test = load_golden(item.file);
        ASSERT_TRUE(test.model);
        PatchedMetadata metadata(*test.file);
        metadata.patches[item.key] = item.patch;
        std::string message = load_error(metadata, *test.file);
        EXPECT_EQ(message.substr(0, std::string(item.message).size()), item.message) << item.key;
        EXPECT_FALSE(message.empty()) << item.key;
    }
}

// Whatever a value becomes: an error, or a model that runs a step.
TEST(BadModel, AnyValueOfAnyKeyIsSafe) {
    for (const char* name : {"llama", "llama-mixtral", "qwen2", "gemma3", "phi3", "granite", "bitnet", "bert"}) {
        TestModel test = load_golden(name);
        ASSERT_TRUE(test.model);
        std::string prefix = std::string(*test.file->get_string("general.architecture")) + ".";
        std::vector<std::string> keys = {prefix + "rope.scaling.type",    prefix + "rope.scaling.factor",
                                         prefix + "attention.key_length", prefix + "attention.sliding_window",
                                         prefix + "expert_count",         prefix + "attention.scale"};
        for (const GgufValue& value : test.file->values())
            if (value.key.starts_with(prefix)) keys.emplace_back(value.key);
        std::vector<Patch> patches = {{}};
        for (int64_t value :
             {int64_t(0), int64_t(1), int64_t(2), int64_t(3), int64_t(-1), int64_t(255), int64_t(1) << 31,
              std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()})
            patches.push_back({.integer = value});
        for (double value : {0.0, -1.0, 1e-3, 1e6, 1e300, kNan, kInfinity}) patches.push_back({.number = value});
        for (const char* value : {"", "linear", "yarn", "longrope"}) patches.push_back({.text = value});
        patches.push_back({.integers = std::vector<int64_t>{}});
        patches.push_back({.integers = std::vector<int64_t>{1, 2, 3, 4}});
        for (const std::string& key : keys)
            for (const Patch& patch : patches) {
                PatchedMetadata metadata(*test.file);
                metadata.patches[key] = patch;
                ThreadPool pool(1);
                auto model = Model::load(metadata, *test.file, {.pool = &pool, .limits = {}, .cancel = nullptr});
                if (!model) {
                    EXPECT_NE(model.error().message, "");
                    continue;
                }
                StepToken tokens[] = {{.token = 1, .position = 0, .sequence = 0, .wants_logits = true},
                                      {.token = 2, .position = 1, .sequence = 0, .wants_logits = true}};
                std::vector<float> out(2 * size_t((*model)->output_width()));
                EXPECT_TRUE(Runner(**model, {}).step(tokens, out.data())) << key;
            }
    }
}

TEST(BadModel, TensorsAreCheckedBeforePacking) {
    TestModel test = load_golden("llama");
    ASSERT_TRUE(test.model);
    auto with = [&](const char* name, auto change) {
        PatchedTensors tensors(*test.file);
        TensorView view = *test.file->find_tensor(name);
        change(view);
        tensors.patches[name] = view;
        return load_error(*test.file, tensors);
    };
    auto without = [&](const char* name) {
        PatchedTensors tensors(*test.file);
        tensors.patches[name] = std::nullopt;
        return load_error(*test.file, tensors);
    };
    EXPECT_EQ(without("blk.1.attn_q.weight"), "blk.1.attn_q.weight: missing, expected shape [48, 48]");
    EXPECT_EQ(without("token_embd.weight"), "token_embd.weight: missing, expected shape [48, vocabulary]");
    EXPECT_EQ(without("output_norm.weight"), "output_norm.weight: missing, expected shape [48]");
    EXPECT_EQ(without("output.weight"), "");      // tied then
    EXPECT_EQ(without("rope_freqs.weight"), "");  // optional
    EXPECT_EQ(with("blk.1.ffn_down.weight", [](TensorView& t) { t.shape[1] = 32; }),
              "blk.1.ffn_down.weight: shape [48, 32], expected [48, 48]");
    EXPECT_EQ(with("blk.0.attn_q.weight", [](TensorView& t) { t.shape[2] = 2, t.n_dims = 3; }),
              "blk.0.attn_q.weight: shape [48, 48, 2], expected [48, 48]");
    EXPECT_EQ(with("blk.0.attn_q.weight", [](TensorView& t) { t.data = t.data.first(100); }),
              "blk.0.attn_q.weight: 100 bytes do not hold [48, 48] of type F32");
    EXPECT_EQ(with("blk.0.attn_q.weight", [](TensorView& t) { t.type = DType::kI32; }),
              "blk.0.attn_q.weight: type I32 cannot hold weights");
    EXPECT_EQ(with("blk.0.attn_q.weight", [](TensorView& t) { t.type = DType::kQ8_0; }),
              "blk.0.attn_q.weight: 9216 bytes do not hold [48, 48] of type Q8_0");
    EXPECT_EQ(with("blk.0.attn_norm.weight", [](TensorView& t) { t.type = DType::kQ8_0; }),
              "blk.0.attn_norm.weight: type Q8_0, expected F32, F16 or BF16");
    const float zeros[4] = {};
    EXPECT_EQ(with("rope_freqs.weight",
                   [&](TensorView& t) { t.data = Bytes(reinterpret_cast<const uint8_t*>(zeros), sizeof(zeros)); }),
              "rope_freqs.weight: value 0 at 0, expected 0.001 to 1e30");
}

TEST(BadModel, StepsAreChecked) {
    TestModel test = load_golden("llama");
    ASSERT_TRUE(test.model);
    std::vector<float> out(72);
    auto error = [&](StepToken token) {
        Runner runner(*test.model, {});
        auto status = runner.step({&token, 1}, out.data());
        return status ? "" : status.error().message;
    };
    EXPECT_EQ(error({.token = 72, .position = 0, .sequence = 0, .wants_logits = true}),
              "step: token 72, expected 0 to 71");
    EXPECT_EQ(error({.token = -1, .position = 0, .sequence = 0, .wants_logits = true}),
              "step: token -1, expected 0 to 71");
    EXPECT_EQ(error({.token = 0, .position = -1, .sequence = 0, .wants_logits = true}),
              "step: position -1 outside the sequence's 0 pages");
    EXPECT_EQ(error({.token = 0, .position = 0, .sequence = 2, .wants_logits = true}), "step: sequence 2 of 2");
    std::atomic<bool> cancel = true;
    ThreadPool pool(1);
    auto loaded = Model::load(*test.file, *test.file, {.pool = &pool, .limits = {}, .cancel = &cancel});
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace sterna
