// An existing model as the beginning of a training: its sizes, and its weights as floats in a network. Functions without
// state.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/model_source.h"
#include "train/export.h"
#include "train/net.h"

namespace sterna::train {

struct BaseModel {
    std::unique_ptr<ModelSource> source;
    MemoryGguf metadata;  // every key of the model
    NetConfig net;        // `context` is what the model was made for, and within the limit
};

// `path` is a GGUF file, or a folder of Hugging Face's. Errors: a model that the network cannot be: another architecture than
// llama, qwen2, qwen3 and bitnet-b1.58, experts, positions scaled otherwise than Llama 3.1's.
Result<BaseModel> open_base(const std::string& path);

// Fills the network's weights.
Status load_weights(const ModelSource& source, std::span<Parameter> parameters, ThreadPool& pool);

}  // namespace sterna::train
