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
    std::string name;                                               // general.architecture, as written
    std::string class_name;                                         // "LlamaForCausalLM"
    enum class Tied { kUnknown, kYes, kNo } tied = Tied::kUnknown;  // tie_word_embeddings
    // What the converter makes tensors of; empty: none.
    std::vector<float> rope_factors, rope_factors_long, rope_factors_short;
    std::vector<std::string> notes;  // a sentence for each thing that is not carried over
};

// The texts of the files; all but the first may be empty.
struct HfConfigFiles {
    std::string_view config;      // config.json
    std::string_view generation;  // generation_config.json
    std::string_view pooling;     // 1_Pooling/config.json of sentence-transformers
};

// Sets general.* and {architecture}.* keys. `where` is config.json's path, for messages.
Result<HfConfig> read_hf_config(const HfConfigFiles& files, const std::string& where, GgufWriter& writer);

// What a config.json says besides the metadata.
struct HfConfigFacts {
    int64_t vocab_size = 0;
    int64_t n_token_types = 0;
    bool tied = false;
    bool attention_bias = false, ffn_bias = false;
    bool keys_are_values = false;                                            // in some layers: no matrix of values
    std::string_view dtype;                                                  // "float16"
    std::vector<float> rope_factors, rope_factors_long, rope_factors_short;  // from the tensors
};

// The way back: a config.json that read_hf_config() turns into this metadata again, and that transformers loads.
Result<std::string> write_hf_config(const Metadata& metadata, const HfConfigFacts& facts,
                                    std::vector<std::string>& notes);

// The class names of all architectures, for messages: "BertModel, BitNetForCausalLM, ...".
std::string known_hf_classes();

}  // namespace sterna
