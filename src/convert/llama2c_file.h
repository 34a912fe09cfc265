// The parts of the llama2.c reader that work on bytes, for its tests. Functions without state.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "convert/checkpoint.h"

namespace sterna {

// Lifetime: the bytes outlive the checkpoint. `path` is for messages, and for finding the tokenizer beside it.
Result<std::unique_ptr<Checkpoint>> parse_llama2c(const std::string& path, Bytes bytes);

// Sets the tokenizer.* keys from a tokenizer.bin, which must hold exactly n_tokens tokens.
Status write_llama2c_tokenizer(const std::string& path, Bytes bytes, int64_t n_tokens, GgufWriter& writer);

}  // namespace sterna
