// A checkpoint or a GGUF file to a GGUF file of another type, with progress on standard error: what `sterna convert` does,
// for other subcommands that need it on their way.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/model_writer.h"

namespace sterna {

struct ConvertOptions {
    std::string type;               // "q4_k_m"; empty: the source's own, when it is f32, f16 or bf16
    std::string name;               // general.name; empty: the source's
    std::vector<std::string> lora;  // adapters to merge, in this order
    int n_threads = 0;              // 0: as many as the machine has cores
    bool allow_extra = false;
    bool quiet = false;
    bool resume = true;
    const std::atomic<bool>* cancel = nullptr;
};

// Warnings go to standard error, one line each.
Result<WriteReport> convert_to_gguf(const std::string& source, const std::string& output,
                                    const ConvertOptions& options);

}  // namespace sterna
