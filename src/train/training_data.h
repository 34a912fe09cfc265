// The tokenizer and the tokens of a recipe. Private to train/.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "text/tokenizer.h"
#include "train/corpus_tokens.h"
#include "train/export.h"
#include "train/recipe.h"

namespace sterna::train {

struct TrainingTokenizer {
    MemoryGguf metadata;  // the tokenizer.* keys
    std::unique_ptr<Tokenizer> tokenizer;
    std::string chat_template;  // its text; empty: none
};

// Copies the tokenizer's keys of a GGUF file.
Result<TrainingTokenizer> take_tokenizer(const GgufFile& file, const Recipe& recipe);

struct TrainingData {
    TrainingTokenizer tokenizer;
    TokenizedTexts tokens;
    std::string digest;
};

// `existing`: a checkpoint whose tokenizer is to be used; null: it is learned from the texts, or read from where the recipe
// says. Without `with_tokens` only the tokenizer is made.
Result<TrainingData> prepare_data(const Recipe& recipe, const GgufFile* existing, bool with_tokens, ThreadPool& pool,
                                  const std::atomic<bool>* cancel, const std::function<void(const std::string&)>& note);

}  // namespace sterna::train
