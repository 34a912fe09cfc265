#include "train/recipe.h"

#include <gtest/gtest.h>

#include "train/schedule.h"

namespace sterna::train {
namespace {

const std::string kModel = "[model]\nwidth = 64\nlayers = 2\nheads = 4\nffn = 128\ncontext = 32\n";
const std::string kData = "[data]\nfiles = [\"a.txt\"]\n";
const std::string kTraining = "[training]\nsteps = 100\nbatch_tokens = 64\n";

std::string error_of(const std::string& text) {
    auto recipe = parse_recipe(text, "dir/r.toml");
    return recipe ? "" : recipe.error().message;
}

TEST(Recipe, Defaults) {
    auto recipe = parse_recipe(kModel + kData + kTraining, "dir/r.toml");
    ASSERT_TRUE(recipe) << recipe.error().message;
    EXPECT_EQ(recipe->name, "r");
    EXPECT_FALSE(recipe->net.ternary);
    EXPECT_EQ(recipe->net.n_kv_heads, 4);
    EXPECT_EQ(recipe->net.head_dim, 16);
    EXPECT_EQ(recipe->training.row_length, 32);
    EXPECT_EQ(recipe->data.files[0].path, "dir/a.txt");
    EXPECT_EQ(recipe->output.folder, "dir/r");
    EXPECT_EQ(recipe->tokenizer.special, std::vector<std::string>{"<|endoftext|>"});
    EXPECT_TRUE(recipe->training.optimizer.muon);
}

TEST(Recipe, NamesTheNearestKey) {
    EXPECT_EQ(error_of("[model]\nwidht = 64\n" + kData + kTraining),
              "dir/r.toml:2: model.widht: no such key; the nearest is width");
    EXPECT_EQ(error_of("nmae = \"x\"\n" + kModel + kData + kTraining),
              "dir/r.toml:1: nmae: no such key; the nearest is name");
    EXPECT_EQ(error_of(kModel + "[data]\nfiles = [{ path = \"a\", wieght = 2 }]\n" + kTraining),
              "dir/r.toml:8: data.files[0].wieght: no such key; the nearest is weight");
}

TEST(Recipe, SaysWhatIsWrong) {
    EXPECT_EQ(error_of(kData + kTraining), "dir/r.toml: model.width: absent, expected a size");
    EXPECT_EQ(error_of("model = 3\n" + kData + kTraining), "dir/r.toml:1: model: expected a table: [model]");
    EXPECT_EQ(error_of("[model]\nwidth = \"a\"\n"), "dir/r.toml:2: model.width: a text, expected an integer");
    EXPECT_EQ(error_of("[model]\nwidth = 1.5\n"), "dir/r.toml:2: model.width: a number, expected an integer");
    EXPECT_EQ(error_of("[model]\nwidth = 0\n"), "dir/r.toml:2: model.width: 0, expected 1 to 8192");
    EXPECT_EQ(error_of("[model]\nkind = \"gpt\"\n"),
              "dir/r.toml:2: model.kind: \"gpt\", expected \"llama\", \"bitnet\" or \"bitnet-float\"");
    EXPECT_EQ(error_of(kModel + "kv_heads = 3\n" + kData + kTraining),
              "dir/r.toml: model.heads: 4 heads cannot share 3 kv_heads evenly");
    EXPECT_EQ(error_of(kModel + kData + "[training]\nsteps = 1\ntokens = 3e6\nbatch_tokens = 64\n"),
              "dir/r.toml:10: training.steps: expected one of steps, tokens and epochs");
    EXPECT_EQ(error_of(kModel + kData + "[training]\nsteps = 1\nbatch_tokens = 31\n"),
              "dir/r.toml:11: training.batch_tokens: 31 is less than a row of 32");
    EXPECT_NE(error_of("[model\n").find("dir/r.toml:1: "), std::string::npos);
}

TEST(Recipe, IdentityHoldsWhatTheWeightsDependOn) {
    auto a = parse_recipe(kModel + kData + kTraining, "r.toml");
    auto b = parse_recipe(kModel + kData + "[training]\nsteps = 200\nbatch_tokens = 64\n[evaluation]\nevery = 7\n",
                          "r.toml");
    auto c = parse_recipe(kModel + kData + kTraining + "beta2 = 0.9\n", "r.toml");
    ASSERT_TRUE(a && b && c);
    EXPECT_EQ(a->identity, b->identity);
    EXPECT_NE(a->identity, c->identity);
}

TEST(Recipe, EditDistance) {
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("abc", "abc"), 0u);
    EXPECT_EQ(edit_distance("abcd", "acbd"), 1u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

Recipe scheduled(const std::string& lines) {
    auto recipe =
        parse_recipe(kModel + kData + kTraining + "learning_rate = 1.0\nmuon_learning_rate = 2.0\n" + lines, "r.toml");
    EXPECT_TRUE(recipe) << recipe.error().message;
    return std::move(*recipe);
}

TEST(Schedule, WarmUpStayDecay) {
    const Recipe recipe =
        scheduled("warmup_steps = 10\nschedule = \"wsd\"\ndecay_fraction = 0.2\nfinal_fraction = 0.5\n");
    EXPECT_FLOAT_EQ(rates_at(recipe, 0, 100).adam, 0.1f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 9, 100).adam, 1.0f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 79, 100).muon, 2.0f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 90, 100).adam, 0.75f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 99, 100).adam, 0.525f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 99, 100).weight_decay, 0.1f);
}

TEST(Schedule, CosineAndLinear) {
    const Recipe cosine = scheduled("warmup_steps = 0\nschedule = \"cosine\"\nfinal_fraction = 0.2\n");
    EXPECT_FLOAT_EQ(rates_at(cosine, 0, 100).adam, 1.0f);
    EXPECT_FLOAT_EQ(rates_at(cosine, 50, 100).adam, 0.6f);
    EXPECT_FLOAT_EQ(rates_at(cosine, 25, 100).adam, 0.2f + 0.8f * 0.5f * (1 + 0.70710678f));
    const Recipe linear = scheduled("warmup_steps = 20\nschedule = \"linear\"\n");
    EXPECT_FLOAT_EQ(rates_at(linear, 60, 100).adam, 0.5f);
    EXPECT_GT(rates_at(linear, 4, 5).adam, 0.0f);  // shorter than its warm-up
}

TEST(Schedule, TwoStages) {
    const Recipe recipe = scheduled(
        "warmup_steps = 0\nschedule = \"wsd\"\ndecay_fraction = 0.0\ntwo_stage = true\nsecond_stage_fraction = 0.5\n");
    EXPECT_FLOAT_EQ(rates_at(recipe, 49, 100).adam, 1.0f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 49, 100).weight_decay, 0.1f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 50, 100).adam, 0.5f);
    EXPECT_FLOAT_EQ(rates_at(recipe, 50, 100).weight_decay, 0.0f);
}

}  // namespace
}  // namespace sterna::train
