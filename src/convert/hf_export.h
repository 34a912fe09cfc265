// The way back: a GGUF file's tensors, dequantized, under their Hugging Face names, with a config.json, so that transformers
// loads them. Functions without state.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/gguf.h"

namespace sterna {

struct HfExport {
    std::vector<std::string> paths, notes;
};

// Writes FOLDER/model.safetensors, config.json, and the tokenizer's files where that is possible (else a note says why).
// `type` is f32, f16 or bf16. `source` is the file's name, for messages.
Result<HfExport> export_to_safetensors(const GgufFile& file, const std::string& source, const std::string& folder,
                                       std::string_view type, const std::atomic<bool>* cancel);

}  // namespace sterna
