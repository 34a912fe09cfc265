// The int8 path: a random model whose matrices have different quantized types side by side, so that one layer's inputs
// are needed in several forms. Same bits on every instruction set, thread count, chunk and company; and close to the
// model that has the decoded weights in F32, the more so as int8 activations are the only difference.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <tuple>

#include "harness.h"
#include "tensor/dtype.h"

namespace sterna {
namespace {

class RandomModel : public Metadata, public TensorSource {
public:
    static constexpr int64_t kWidth = 256, kFfn = 512, kVocab = 300, kExperts = 3;

    // `decoded`: the quantized values, held in F32.
    RandomModel(bool experts, bool decoded) : decoded_(decoded) {
        integers_ = {{"block_count", 2},
                     {"embedding_length", kWidth},
                     {"feed_forward_length", kFfn},
                     {"context_length", 128},
                     {"attention.head_count", 4},
                     {"attention.head_count_kv", 2},
                     {"attention.sliding_window", 11}};
        if (experts) integers_["expert_count"] = kExperts, integers_["expert_used_count"] = 2;
        add("token_embd.weight", DType::kQ6_K, kWidth, kVocab);
        add("output_norm.weight", DType::kF32, kWidth, 1);
        add("output.weight", DType::kQ5_0, kWidth, kVocab);
        for (int layer = 0; layer < 2; ++layer) {
            std::string blk = "blk." + std::to_string(layer) + ".";
            add(blk + "attn_norm.weight", DType::kF32, kWidth, 1);
            add(blk + "ffn_norm.weight", DType::kF32, kWidth, 1);
            add(blk + "attn_q.weight", layer ? DType::kQ4_0 : DType::kQ4_K, kWidth, kWidth);
            add(blk + "attn_k.weight", layer ? DType::kQ5_K : DType::kQ8_0, kWidth, kWidth / 2);
            add(blk + "attn_v.weight", layer ? DType::kIQ4_NL : DType::kF16, kWidth, kWidth / 2);
            add(blk + "attn_output.weight", layer ? DType::kBF16 : DType::kQ5_1, kWidth, kWidth);
            if (experts) {
                add(blk + "ffn_gate_inp.weight", DType::kF32, kWidth, kExperts);
                add(blk + "ffn_gate_exps.weight", DType::kQ4_K, kWidth, kFfn, kExperts);
                add(blk + "ffn_up_exps.weight", DType::kQ8_0, kWidth, kFfn, kExperts);
                add(blk + "ffn_down_exps.weight", DType::kQ6_K, kFfn, kWidth, kExperts);
            } else {
                add(blk + "ffn_gate.weight", layer ? DType::kIQ4_XS : DType::kQ4_K, kWidth, kFfn);
                add(blk + "ffn_up.weight", layer ? DType::kQ4_1 : DType::kQ6_K, kWidth, kFfn);
                add(blk + "ffn_down.weight", layer ? DType::kQ3_K : DType::kQ8_0, kFfn, kWidth);
            }
        }
    }

    bool has(std::string_view key) const override { return get_int(key).has_value(); }
    std::optional<int64_t> get_int(std::string_view key) const override {
        if (!key.starts_with("llama.")) return std::nullopt;
        auto at = integers_.find(std::string(key.substr(6)));
        return at == integers_.end() ? std::nullopt : std::optional(at->second);
    }
    std::optional<double> get_float(std::string_view) const override { return std::nullopt; }
    std::optional<bool> get_bool(std::string_view) const override { return std::nullopt; }
    std::optional<std::string_view> get_string(std::string_view key) const override {
        return key == "general.architecture" ? std::optional<std::string_view>("llama") : std::nullopt;
    }
    std::optional<std::vector<int64_t>> get_ints(std::string_view) const override { return std::nullopt; }
    std::optional<std::vector<double>> get_floats(std::string_view) const override { return std::nullopt; }
    std::optional<std::vector<std::string_view>> get_strings(std::string_view) const override { return std::nullopt; }
    const TensorView* find_tensor(std::string_view name) const override {
        auto at = tensors_.find(std::string(name));
        return at == tensors_.end() ? nullptr : &at->second;
    }

private:
    // Sums of four uniform numbers: no library function, the same everywhere.
    float random() {
        float sum = 0;
        for (int i = 0; i < 4; ++i) {
            state_ = state_ * 6364136223846793005u + 1442695040888963407u;
            sum += float(int32_t(state_ >> 40) - (1 << 23)) / float(1 << 23);
        }
        return sum;
    }

    void add(const std::string& name, DType type, int64_t n_in, int64_t n_out, int64_t n = 1) {
        const DTypeTraits& traits = *dtype_traits(type);
        bool is_norm = n_out == 1;
        std::vector<float> values(size_t(n_in * n_out * n));
        for (float& value : values) value = is_norm ? 1.0f + 0.1f * random() : random() * 0.06f;
        std::vector<uint8_t> bytes(values.size() / size_t(traits.block_size) * size_t(traits.block_bytes));
        for (int64_t row = 0; row < n_out * n; ++row)
            traits.encode(values.data() + row * n_in,
                          bytes.data() + row * (n_in / traits.block_size * traits.block_bytes), n_in, nullptr);
        if (decoded_) {
            traits.decode(bytes.data(), values.data(), int64_t(values.size()));
            bytes.resize(values.size() * sizeof(float));
            std::memcpy(bytes.data(), values.data(), bytes.size());
            type = DType::kF32;
        }
        storage_.push_back(std::move(bytes));
        TensorView view;
        view.type = type;
        view.n_dims = n > 1 ? 3 : is_norm ? 1 : 2;
        view.shape = {n_in, n_out, n, 1};
        view.data = storage_.back();
        tensors_[name] = view;
    }

    bool decoded_;
    uint64_t state_ = 7;
    std::map<std::string, int64_t> integers_;
    std::map<std::string, TensorView> tensors_;
    std::deque<std::vector<uint8_t>> storage_;
};

double relative_rms(std::span<const float> found, std::span<const float> wanted) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
        double d = double(found[i]) - double(wanted[i]);
        difference += d * d;
        size += double(wanted[i]) * double(wanted[i]);
    }
    return std::sqrt(difference / size);
}

class Quantized : public testing::TestWithParam<bool> {};

TEST_P(Quantized, SameBitsHoweverItRuns) {
    ThreadPool pool(2);
    RandomModel source(GetParam(), false), decoded(GetParam(), true);
    auto model = Model::load(source, source, {.pool = &pool, .limits = {}, .cancel = nullptr});
    ASSERT_TRUE(model) << model.error().message;
    std::vector<int32_t> tokens;
    for (int i = 0; i < 40; ++i) tokens.push_back((i * i * 37 + 5) % int32_t(RandomModel::kVocab));

    for (kernels::KvKind kv : {kernels::KvKind::kF16, kernels::KvKind::kQ8_0}) {
        std::vector<float> reference = run_all(**model, tokens, {.kernels = kernels::all().tables[0], .kv = kv});
        for (int i = 0; i < kernels::all().n; ++i) {
            RunOptions options = {.kernels = kernels::all().tables[i], .kv = kv};
            for (auto [threads, chunk, stranger] : {std::tuple(1, size_t(1), false),
                                                    {2, size_t(7), true},
                                                    {5, size_t(64), false},
                                                    {1, size_t(64), true},
                                                    {2, size_t(1), false}}) {
                options.threads = threads;
                options.chunk = chunk;
                options.stranger = stranger;
                EXPECT_EQ(run_all(**model, tokens, options), reference)
                    << options.kernels->name << ", " << threads << " threads, chunks of " << chunk;
            }
        }
        // Experts are left out here: a router's close decision may fall the other way, which is no small difference.
        if (GetParam()) continue;
        auto exact = Model::load(decoded, decoded, {.pool = &pool, .limits = {}, .cancel = nullptr});
        ASSERT_TRUE(exact) << exact.error().message;
        std::vector<float> wanted = run_all(**exact, tokens, {.kv = kernels::KvKind::kF32});
        double difference = relative_rms(reference, wanted);
        std::printf("int8 activations, %s cache: rms difference / rms logit %.2e\n",
                    kv == kernels::KvKind::kF16 ? "f16" : "q8_0", difference);
        // Rounding to a 127th of a block's largest value is an error of some 0.6 % per linear layer, and two layers
        // have eight.
        EXPECT_LE(difference, 0.03);
        EXPECT_GT(difference, 1e-4);  // the int8 path did run
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Quantized, testing::Bool(),
                         [](const auto& test) { return std::string(test.param ? "Experts" : "Dense"); });

}  // namespace
}  // namespace sterna
