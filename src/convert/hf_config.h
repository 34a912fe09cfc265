// config.json and generation_config.json of a Hugging Face checkpoint as GGUF metadata, by the rows of the architecture
// that the class name means (model/huggingface.h). Functions without state; call them from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/gguf.h"
#include "model/weights.h"

namespace sterna {

struct HfConfig {
    const Architecture* architecture = nullptr;
    std::string name;        // general.architecture, as written
    std::string class_name;  // "LlamaForCausalLM"
    enum class Tied { kUnknown, kYes, kNo } tied = Tied::kUnknown;  // tie_word_embeddings
    // What the converter makes tensors of; empty: none.
    std::vector<float> rope_factors, rope_factors_long, rope_factors_short;
    std::vector<std::string> notes;  // a sentence for each thing that is not carried over
};

// Sets general.* and {architecture}.* keys. `where` is config.json's path, for messages; `generation` may be empty.
Result<HfConfig> read_hf_config(std::string_view config, std::string_view generation, const std::string& where,
                                GgufWriter& writer);

// The way back: a config.json that read_hf_config() turns into this metadata again, and that transformers loads.
Result<std::string> write_hf_config(const Metadata& metadata, const Architecture& architecture, bool tied,
                                    std::string_view dtype);

// The class names of all architectures, for messages: "BertModel, BitNetForCausalLM, ...".
std::string known_hf_classes();

}  // namespace sterna
