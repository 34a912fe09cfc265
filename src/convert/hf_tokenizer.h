// The tokenizer of a checkpoint folder as GGUF metadata, and back. Reads what its makers published: tokenizer.json, a
// SentencePiece model, a tiktoken file or an RWKV vocabulary, and beside them tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, generation_config.json and the chat template. A tokenizer is recognised by
// what it does (the text of its split expression), never by a hash of its output, so a fine-tune with more tokens is as
// good as the original. Functions without state; call them from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "format/gguf.h"

namespace sterna {

// Sets the tokenizer.* keys. `vocab_rows` is the number of rows of the embedding matrix: missing tokens become "[PADn]",
// of type unused; 0 means as many as there are. `warnings` gets one sentence for each thing that could not be carried
// over exactly. Errors name the file and what is wrong with it.
Status write_tokenizer(const std::string& folder, int64_t vocab_rows, GgufWriter& writer,
                       std::vector<std::string>& warnings);

// The text of a tokenizer.json that encodes as the tokenizer.ggml.* keys do (byte-level BPE, SentencePiece BPE, Unigram).
Result<std::string> tokenizer_json(const Metadata& metadata);

}  // namespace sterna
