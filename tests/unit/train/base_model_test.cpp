// Models that others made as bases: the network's loss on them is that of transformers, whose logits stand in the files
// (tools/make_model_golden.py).
#include "train/base_model.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "support/testdata.h"

namespace sterna::train {
namespace {

// The model without the tensors that are not its own.
class Own : public ModelSource {
public:
    explicit Own(const ModelSource& source) : source_(source) {
        for (const SourceTensor& tensor : source.tensors())
            if (!tensor.name.starts_with("golden.")) tensors_.push_back(tensor);
    }
    Status write_metadata(GgufWriter& writer) const override { return source_.write_metadata(writer); }
    std::span<const SourceTensor> tensors() const override { return tensors_; }
    Status read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const override {
        return source_.read_rows(tensor, first, n, to);
    }
    uint64_t source_bytes() const override { return source_.source_bytes(); }

private:
    const ModelSource& source_;
    std::vector<SourceTensor> tensors_;
};

std::vector<float> stored(const ModelSource& source, std::string_view name) {
    for (const SourceTensor& tensor : source.tensors()) {
        if (tensor.name != name) continue;
        std::vector<float> values(tensor.stored.size() / sizeof(float));
        std::memcpy(values.data(), tensor.stored.data(), tensor.stored.size());
        return values;
    }
    ADD_FAILURE() << name << " is missing";
    return {};
}

class Bases : public testing::TestWithParam<const char*> {};

TEST_P(Bases, LossIsThatOfTransformers) {
    const std::string path = source_path(std::string("tests/golden/models/") + GetParam() + ".gguf").string();
    auto base = open_base(path);
    ASSERT_TRUE(base) << base.error().message;
    ThreadPool pool(2);
    auto net = Net::create(base->net, 1, pool);
    ASSERT_TRUE(net) << net.error().message;
    const Status loaded = load_weights(Own(*base->source), (*net)->parameters(), pool);
    ASSERT_TRUE(loaded) << loaded.error().message;

    const std::vector<float> logits = stored(*base->source, "golden.logits");
    const std::vector<float> tokens_as_floats = stored(*base->source, "golden.tokens");
    std::vector<int32_t> tokens(tokens_as_floats.size());
    std::memcpy(tokens.data(), tokens_as_floats.data(), tokens.size() * sizeof(int32_t));
    const size_t n = tokens.size() - 1, vocab = logits.size() / tokens.size();
    double expected = 0;
    for (size_t i = 0; i < n; ++i) {
        double sum = 0;
        for (size_t j = 0; j < vocab; ++j) sum += std::exp(double(logits[i * vocab + j]));
        expected += std::log(sum) - double(logits[i * vocab + size_t(tokens[i + 1])]);
    }
    const std::vector<int32_t> targets(tokens.begin() + 1, tokens.end());
    const std::vector<float> weights(n, 1.0f);
    const Batch batch = {1, int(n), std::span(tokens).first(n), targets, weights, {}};
    EXPECT_NEAR((*net)->loss(batch).sum / expected, 1.0, 1e-5);
}

// Llama 3.1's divided frequencies; biases and YaRN; norms of heads and linear scaling.
INSTANTIATE_TEST_SUITE_P(Golden, Bases, testing::Values("llama", "qwen2", "qwen3"),
                         [](const auto& base) { return std::string(base.param); });

TEST(Bases, OtherArchitecturesAreRefusedByName) {
    for (const char* name : {"gemma2", "llama-mixtral", "phi3"}) {
        auto base = open_base(source_path(std::string("tests/golden/models/") + name + ".gguf").string());
        ASSERT_FALSE(base) << name;
        EXPECT_EQ(base.error().code, ErrorCode::kUnsupported) << base.error().message;
    }
}

}  // namespace
}  // namespace sterna::train
