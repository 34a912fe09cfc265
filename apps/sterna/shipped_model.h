// The model that the program carries: models/tavern.gguf (docs/tavern.md). `run` takes it when no model is named; run, eval,
// bench, perplexity, inspect and tokenize know it as "tavern".
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "format/gguf.h"

namespace sterna {

inline constexpr char kShippedModel[] = "tavern";

// GgufFile::open(), but "tavern" is the model in the program unless a file of that name exists.
Result<std::unique_ptr<GgufFile>> open_gguf(const std::string& path);

}  // namespace sterna
