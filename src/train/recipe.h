// What is to be trained, on what, and how: a recipe.toml (docs/train.md). Plain data; thread-compatible.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "train/net.h"
#include "train/optimizer.h"

namespace sterna::train {

struct RecipeLimits {
    int max_width = 8192, max_layers = 256, max_heads = 256, max_head_dim = 512, max_ffn = 65536, max_context = 65536;
    int max_vocab = 1 << 18, max_rank = 1024;
    int64_t max_parameters = 2'000'000'000;  // 16 bytes each while training
    int64_t max_batch_tokens = 1 << 24;
    size_t max_file_bytes = 1 << 20;
};

struct DataFile {
    std::string path;
    double weight = 1.0;  // how often its documents are seen in an epoch
};

struct Sample {
    std::string text;          // a plain beginning, or
    std::string system, user;  // a conversation
    bool is_chat = false;
};

enum class ScheduleShape : uint8_t { kCosine, kLinear, kStable };

struct Recipe {
    std::string name;
    std::string path, text;  // of the recipe
    NetConfig net;           // vocab_size is the tokenizer's: 0 until it is known; with a base only `context` is set
    std::string base;        // the model that training begins with; empty: random weights

    struct {
        int rank = 0;  // 0: all weights are trained
        double alpha = 16;
        std::vector<std::string> targets;
    } lora;

    struct {
        int vocab_size = 0;
        std::string pre, end, end_of_turn, from, chat_template;  // chat_template: the text of the file
        std::vector<std::string> special;
    } tokenizer;

    struct {
        std::vector<DataFile> files;
        std::vector<std::string> held_out_files;
        double held_out = 0.01, context_weight = 0.1;
    } data;

    struct {
        int64_t steps = 0, tokens = 0;  // one of the three is not 0
        double epochs = 0;
        int64_t batch_tokens = 8192, warmup_steps = 100;
        int row_length = 0, accumulation = 1;
        uint64_t seed = 1;
        double learning_rate = 1e-3, muon_learning_rate = 0.02, final_fraction = 0, decay_fraction = 0.2;
        double second_stage_fraction = 0.66;
        bool two_stage = false;
        ScheduleShape schedule = ScheduleShape::kStable;
        OptimizerConfig optimizer;
    } training;

    struct {
        int64_t every = 100, rows = 64, sample_tokens = 64;
        std::vector<Sample> samples;
    } evaluation;

    struct {
        int64_t every = 0;
        double every_seconds = 300;
    } checkpoint;

    struct {
        std::string folder;
        std::vector<std::string> gguf;
        std::string safetensors, author, license, description;
        std::optional<float> temperature;  // what `sterna run` samples with unless told otherwise
    } output;

    // Every key that the weights depend on, with its value: "training.seed" and "1".
    std::vector<std::pair<std::string, std::string>> identity;
};

// Errors name the file, the line and the key: "recipe.toml:12: training.stpes: no such key; the nearest is steps".
Result<Recipe> read_recipe(const std::string& path);
// `path` is for messages, and what the recipe's paths are relative to.
Result<Recipe> parse_recipe(std::string_view text, const std::string& path);

// What is not possible about these sizes; nothing when all is well. Weights, and an upper bound for the memory of training.
Status check_sizes(const NetConfig& net, const RecipeLimits& limits = {});
int64_t n_parameters(const NetConfig& net);

// The number of edits (insert, delete, replace, swap of neighbours) between two words.
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace sterna::train
