// Trained models: exact greedy tokens and logits of two small Llama-2 style models that an independent NumPy forward
// pass checked (shared test data, models/README.md).
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "harness.h"
#include "support/testdata.h"

namespace sterna {
namespace {

// The bytes of one tensor of a safetensors file: u64 header length, JSON {"name":{...,"data_offsets":[a,b]}}, data.
template <typename T>
std::vector<T> safetensor(const std::vector<uint8_t>& file, const std::string& name) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    std::string header(reinterpret_cast<const char*>(file.data()) + 8, size_t(length));
    size_t at = header.find("\"" + name + "\"");
    if (at == std::string::npos) return {};
    at = header.find('[', header.find("data_offsets", at));
    unsigned long begin = 0, end = 0;
    if (std::sscanf(header.c_str() + at, "[%lu,%lu]", &begin, &end) != 2) return {};
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), file.data() + 8 + length + begin, end - begin);
    return values;
}

void expect_golden(const Model& model, const std::vector<uint8_t>& golden, const char* name) {
    std::vector<int32_t> tokens = safetensor<int32_t>(golden, "tokens");
    std::vector<float> logits = safetensor<float>(golden, "logits");
    size_t vocab = size_t(model.config().vocab_size);
    ASSERT_EQ(logits.size(), 32 * vocab);

    double difference = relative_difference(run_all(model, std::span(tokens).first(32), {}), logits);
    std::printf("%s largest difference / largest logit: %.2e\n", name, difference);
    EXPECT_LE(difference, 1e-4);

    for (kernels::KvKind kv : {kernels::KvKind::kF16, kernels::KvKind::kF32}) {
        Runner runner(model, {.threads = 2, .kv = kv});
        std::vector<int32_t> found = {tokens[0]};
        while (found.size() < tokens.size()) {
            std::vector<float> row = runner.feed(std::span(found).last(1));
            ASSERT_EQ(row.size(), vocab);
            found.push_back(int32_t(std::max_element(row.begin(), row.end()) - row.begin()));
        }
        EXPECT_EQ(found, tokens);
    }
}

TEST(Trained, Stories260K) {
    auto model_path = shared_testdata("models/llama2c/stories260Ktok512.gguf");
    auto golden_path = shared_testdata("models/llama2c/stories260K-golden.safetensors");
    if (!model_path || !golden_path) GTEST_SKIP() << "no shared test data";
    TestModel test = load_test_model(*read_whole_file(model_path->string()), "stories260K");
    ASSERT_TRUE(test.model);
    expect_golden(*test.model, *read_whole_file(golden_path->string()), "stories260K");
}

// A llama2.c checkpoint (version 0) seen as metadata and tensors, without a file between. Its q and k rows already
// stand in adjacent pairs, as GGUF wants them.
class Llama2cCheckpoint : public Metadata, public TensorSource {
public:
    explicit Llama2cCheckpoint(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {
        std::memcpy(header_, bytes_.data(), sizeof(header_));
        int64_t dim = header_[0], hidden = header_[1], n_layers = header_[2], kv_dim = dim * header_[4] / header_[3];
        size_t at = sizeof(header_);
        auto add = [&](const std::string& name, int64_t n_in, int64_t n_out) {
            size_t n = size_t(n_in * n_out) * sizeof(float);
            names_.push_back(name);
            TensorView view;
            view.n_dims = n_out > 1 ? 2 : 1;
            view.shape = {n_in, n_out, 1, 1};
            view.data = Bytes(bytes_).subspan(at, n);
            views_.push_back(view);
            at += n;
        };
        auto add_layers = [&](const char* part, int64_t n_in, int64_t n_out) {
            for (int64_t i = 0; i < n_layers; ++i)
                add("blk." + std::to_string(i) + "." + part + ".weight", n_in, n_out);
        };
        add("token_embd.weight", dim, header_[5]);
        add_layers("attn_norm", dim, 1);
        add_layers("attn_q", dim, dim);
        add_layers("attn_k", dim, kv_dim);
        add_layers("attn_v", dim, kv_dim);
        add_layers("attn_output", dim, dim);
        add_layers("ffn_norm", dim, 1);
        add_layers("ffn_gate", dim, hidden);
        add_layers("ffn_down", hidden, dim);
        add_layers("ffn_up", dim, hidden);
        add("output_norm.weight", dim, 1);
    }

    bool has(std::string_view key) const override { return get_int(key) || get_string(key); }
    std::optional<int64_t> get_int(std::string_view key) const override {
        static constexpr const char* kKeys[] = {"embedding_length",     "feed_forward_length",     "block_count",
                                                "attention.head_count", "attention.head_count_kv", "",
                                                "context_length"};
        for (int i = 0; i < 7; ++i)
            if (key == std::string("llama.") + kKeys[i]) return header_[i];
        return std::nullopt;
    }
    std::optional<double> get_float(std::string_view) const override { return std::nullopt; }
    std::optional<bool> get_bool(std::string_view) const override { return std::nullopt; }
    std::optional<std::string_view> get_string(std::string_view key) const override {
        if (key == "general.architecture") return "llama";
        return std::nullopt;
    }
    std::optional<std::vector<int64_t>> get_ints(std::string_view) const override { return std::nullopt; }
    std::optional<std::vector<double>> get_floats(std::string_view) const override { return std::nullopt; }
    std::optional<std::vector<std::string_view>> get_strings(std::string_view) const override { return std::nullopt; }

    const TensorView* find_tensor(std::string_view name) const override {
        for (size_t i = 0; i < names_.size(); ++i)
            if (names_[i] == name) return &views_[i];
        return nullptr;
    }

private:
    std::vector<uint8_t> bytes_;
    int32_t header_[7];
    std::vector<std::string> names_;
    std::vector<TensorView> views_;
};

TEST(Trained, BabyLlama105) {
    auto model_path = shared_testdata("models/llama2c/babyllama105.bin");
    auto golden_path = shared_testdata("models/llama2c/babyllama105-golden.safetensors");
    if (!model_path || !golden_path) GTEST_SKIP() << "no shared test data";
    Llama2cCheckpoint checkpoint(*read_whole_file(model_path->string()));
    ThreadPool pool(2);
    auto model = Model::load(checkpoint, checkpoint, {.pool = &pool, .limits = {}, .cancel = nullptr});
    ASSERT_TRUE(model) << model.error().message;
    expect_golden(**model, *read_whole_file(golden_path->string()), "babyllama105");
}

}  // namespace
}  // namespace sterna
