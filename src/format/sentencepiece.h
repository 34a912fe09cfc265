// SentencePiece's tokenizer.model: the pieces of a vocabulary with score and type, and how text is prepared for them.
// The file is a protocol buffer message ModelProto (sentencepiece_model.proto):
//
//     1 pieces*          1 piece (text)  2 score (float)  3 type (1 normal .. 6 byte, as in GGUF)
//     2 trainer_spec     3 model_type (1 unigram, 2 bpe, 3 word, 4 char)  24 treat_whitespace_as_suffix
//                        35 byte_fallback  40 unk_id  41 bos_id  42 eos_id  43 pad_id
//     3 normalizer_spec  2 precompiled_charsmap  3 add_dummy_prefix  4 remove_extra_whitespaces
//                        5 escape_whitespaces
//
// Functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace sterna {

struct SentencePieceLimits {
    size_t max_pieces = 1u << 20;
    size_t max_piece_bytes = 1u << 16;
    size_t max_charsmap_bytes = 1u << 24;
};

struct SentencePieceModel {
    enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
    struct Piece {
        std::string_view text;
        float score = 0;
        int type = 1;
    };
    Kind kind = Kind::kUnigram;
    std::vector<Piece> pieces;
    int64_t unknown = 0, bos = 1, eos = 2, padding = -1;  // -1: none
    bool byte_fallback = false, whitespace_as_suffix = false;
    bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
    Bytes charsmap;
};

// Lifetime: the model's texts are parts of the bytes. `name` is for messages.
Result<SentencePieceModel> read_sentencepiece(Bytes bytes, std::string_view name,
                                              const SentencePieceLimits& limits = {});

}  // namespace sterna
