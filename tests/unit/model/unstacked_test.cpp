// Old Mixtral files hold one tensor per expert; they load as the stacked ones do.
#include <map>

#include "harness.h"

namespace sterna {
namespace {

// A file's tensors, with every stack of experts shown as one tensor for each.
class Unstacked : public TensorSource {
public:
    explicit Unstacked(const GgufFile& file) {
        for (const TensorView& tensor : file.tensors()) {
            const std::string name(tensor.name);
            const size_t at = name.find("_exps.");
            if (at == std::string::npos) {
                tensors_[name] = tensor;
                continue;
            }
            const size_t bytes = tensor.data.size() / size_t(tensor.shape[2]);
            for (int64_t expert = 0; expert < tensor.shape[2]; ++expert) {
                TensorView one = tensor;
                one.n_dims = 2;
                one.shape[2] = 1;
                one.data = tensor.data.subspan(size_t(expert) * bytes, bytes);
                const std::string own = name.substr(0, at) + "." + std::to_string(expert) + name.substr(at + 5);
                one.name = names_.emplace(own, own).first->second;
                tensors_[own] = one;
            }
        }
    }
    const TensorView* find_tensor(std::string_view name) const override {
        auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : &at->second;
    }

    std::map<std::string, TensorView, std::less<>> tensors_;

private:
    std::map<std::string, std::string> names_;
};

TEST(UnstackedExperts, SameOutput) {
    TestModel test = load_golden("llama-mixtral");
    ASSERT_TRUE(test.model);
    const Unstacked source(*test.file);
    ASSERT_TRUE(source.find_tensor("blk.0.ffn_gate.1.weight"));
    ThreadPool pool(1);
    auto model = Model::load(*test.file, source, {.pool = &pool, .limits = {}, .cancel = nullptr});
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ((*model)->weight_bytes(), test.model->weight_bytes());
    auto plan = plan_model(*test.file, {});
    ASSERT_TRUE(plan);
    const auto table = plan->architecture->tensors(plan->config);
    ASSERT_TRUE(check_tensors(plan->config, table, source, {}));
    EXPECT_EQ(packed_bytes(plan->config, table, source), packed_bytes(plan->config, table, *test.file));
    const std::vector<int32_t> tokens = test.ints("golden.tokens");
    EXPECT_EQ(run_all(**model, tokens, {}), run_all(*test.model, tokens, {}));
}

TEST(UnstackedExperts, EachIsChecked) {
    TestModel test = load_golden("llama-mixtral");
    ASSERT_TRUE(test.model);
    ThreadPool pool(1);
    auto message = [&](const Unstacked& source) {
        auto model = Model::load(*test.file, source, {.pool = &pool, .limits = {}, .cancel = nullptr});
        return model ? "accepted" : model.error().message;
    };
    Unstacked missing(*test.file);
    missing.tensors_.erase("blk.1.ffn_up.1.weight");
    EXPECT_TRUE(message(missing).starts_with("blk.1.ffn_up.1.weight: missing, expected shape [")) << message(missing);
    Unstacked misshapen(*test.file);
    misshapen.tensors_["blk.0.ffn_down.1.weight"].shape[1] += 1;
    EXPECT_TRUE(message(misshapen).starts_with("blk.0.ffn_down.1.weight: shape [")) << message(misshapen);
    Unstacked first_missing(*test.file);
    first_missing.tensors_.erase("blk.0.ffn_gate.0.weight");
    EXPECT_TRUE(message(first_missing).starts_with("blk.0.ffn_gate_exps.weight: missing")) << message(first_missing);
}

}  // namespace
}  // namespace sterna
