// The readers behind open_checkpoint(), one per kind of file. Each takes one file, or a folder that holds such files
// (shards with their index, or a single file under its usual name), checks everything that it will later rely on, and
// keeps the files mapped for the life of the checkpoint.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "convert/checkpoint.h"

namespace sterna {

// *.safetensors, or a folder with model.safetensors.index.json, model.safetensors or model-00001-of-0000N.safetensors.
Result<std::unique_ptr<Checkpoint>> open_safetensors(const std::string& path);
// PyTorch's zip of a pickle: *.bin, *.pt, *.pth, or a folder with pytorch_model.bin (and its index). Runs no code.
Result<std::unique_ptr<Checkpoint>> open_torch(const std::string& path);
// *.onnx with its external data.
Result<std::unique_ptr<Checkpoint>> open_onnx(const std::string& path);
// The .bin of llama2.c, versions 0 to 2.
Result<std::unique_ptr<Checkpoint>> open_llama2c(const std::string& path);

}  // namespace sterna
