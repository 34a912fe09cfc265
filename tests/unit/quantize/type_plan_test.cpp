// The types that a mix gives a model's tensors, against what llama.cpp's quantizer chose for the same models
// (tools/make_type_plan_golden.py).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "convert/type_plan.h"
#include "support/testdata.h"

namespace sterna {
namespace {

struct GoldenModel {
    std::vector<SourceTensor> tensors;  // matrices, in the file's order
};

SourceTensor tensor_of(std::string name, std::vector<int64_t> shape) {
    SourceTensor tensor;
    tensor.name = std::move(name);
    tensor.shape = std::move(shape);
    return tensor;
}

// "Q4_K*2 Q6_K*1" -> one name per tensor.
std::vector<std::string> expanded(std::istringstream& line) {
    std::vector<std::string> types;
    for (std::string run; line >> run;) {
        const size_t star = run.find('*');
        for (int i = std::stoi(run.substr(star + 1)); i > 0; --i) types.push_back(run.substr(0, star));
    }
    return types;
}

TEST(TypePlan, AgreesWithLlamaCpp) {
    std::ifstream golden(source_path("tests/golden/quantize/type_plans.txt"));
    ASSERT_TRUE(golden);
    std::string model;
    std::vector<SourceTensor> head, layer, tail, tensors;
    int n_plans = 0;
    for (std::string text; std::getline(golden, text);) {
        std::istringstream line(text);
        std::string word, name;
        line >> word;
        if (word == "model") {
            line >> model;
            head.clear(), layer.clear(), tail.clear();
        } else if (word == "tensor") {
            line >> name;
            std::vector<int64_t> shape;
            for (int64_t n; line >> n;) shape.push_back(n);
            auto& group = name.starts_with("blk.") ? layer : layer.empty() ? head : tail;
            group.push_back(tensor_of(name, shape));
        } else if (word == "layers") {
            int n_layers = 0;
            line >> n_layers;
            tensors = head;
            for (int i = 0; i < n_layers; ++i)
                for (SourceTensor tensor : layer) {
                    tensor.name = "blk." + std::to_string(i) + tensor.name.substr(5);
                    tensors.push_back(tensor);
                }
            tensors.insert(tensors.end(), tail.begin(), tail.end());
        } else if (word == "plan") {
            std::string target_name, kind;
            line >> target_name >> kind;
            const std::vector<std::string> types = expanded(line);
            ASSERT_EQ(types.size(), tensors.size()) << model;
            const TypeTarget* target = find_type_target(target_name);
            ASSERT_NE(target, nullptr) << target_name;
            for (bool has_imatrix : {false, true}) {
                if (kind == (has_imatrix ? "plain" : "imatrix")) continue;
                PlanOptions options;
                options.has_imatrix = has_imatrix;
                auto plan = plan_types(tensors, *target, options);
                ASSERT_TRUE(plan) << plan.error().message;
                for (size_t i = 0; i < tensors.size(); ++i)
                    EXPECT_EQ(dtype_traits(plan->types[i])->name, types[i])
                        << model << " " << target_name << " " << kind << " " << tensors[i].name;
                ++n_plans;
            }
        }
    }
    EXPECT_EQ(n_plans, 12 * 23 * 2);
}

TEST(TypePlan, OverridesAndNames) {
    const std::vector<SourceTensor> tensors = {
        tensor_of("token_embd.weight", {256, 64}), tensor_of("blk.0.ffn_down.weight", {256, 256}),
        tensor_of("blk.0.attn_norm.weight", {256}), tensor_of("output.weight", {256, 64})};
    PlanOptions options;
    options.overrides = {{"blk.*.ffn_down.*", DType::kQ8_0}};
    options.output_type = DType::kQ5_K;
    auto plan = plan_types(tensors, *find_type_target("q4_k"), options);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->types, (std::vector<DType>{DType::kQ4_K, DType::kQ8_0, DType::kF32, DType::kQ5_K}));
    EXPECT_EQ(plan->file_type, 15u);
    options.overrides = {{"blk.*.nothing", DType::kQ8_0}};
    EXPECT_FALSE(plan_types(tensors, *find_type_target("q4_k"), options));
    EXPECT_EQ(find_type_target("q9"), nullptr);
    auto missing = need_type_target("q9");
    ASSERT_FALSE(missing);
    EXPECT_TRUE(missing.error().message.starts_with("q9: no such type"));
}

}  // namespace
}  // namespace sterna
