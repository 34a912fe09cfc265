// A corpus as tokens, with what each of them counts in the loss. Immutable once made.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "base/thread_pool.h"
#include "text/tokenizer.h"
#include "train/corpus.h"

namespace sterna::train {

// A document, or a part of one that is longer than a row: `n_places` inputs with their targets, so one token more.
struct Piece {
    uint64_t begin;
    uint32_t n_places;
    uint32_t file;
};

struct TokenCorpus {
    std::vector<int32_t> tokens;
    std::vector<float> weights;  // of each token as a target
    std::vector<Piece> pieces;
    std::vector<double> file_weights;
    int64_t n_documents = 0, n_cut = 0;  // documents that are longer than a row
    uint64_t n_bytes = 0;                // of text

    int64_t n_places() const;
    Sha256Digest digest() const;
};

struct TokenizedTexts {
    TokenCorpus training, held_out;
};

// Documents of files that are not held out go to held_out with probability recipe.data.held_out, drawn by the recipe's
// seed. Errors: nothing to train on; a reply without an end.
Result<TokenizedTexts> tokenize_texts(const std::vector<TextFile>& files, const Tokenizer& tokenizer,
                                      const Recipe& recipe, ThreadPool& pool);

}  // namespace sterna::train
