// What several subcommands need: opening a model with everything around it, reading input, formatting sizes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/lora.h"
#include "format/gguf.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace sterna {

int default_threads();

struct OpenModel {
    std::unique_ptr<ThreadPool> pool;
    std::unique_ptr<GgufFile> file;
    std::unique_ptr<AdaptedTensors> adapted;  // the file's tensors with adapters added; null: none
    std::unique_ptr<Tokenizer> tokenizer;
    std::unique_ptr<Model> model;
    double load_seconds = 0;
};

// Opens, checks that weights fit into this machine's memory, loads. A warning of the tokenizer goes to standard error. `name` is a
// path, or a model of the cache (hub_model.h).
//
// `lora`: adapters that are added to the weights, as sterna convert --lora does; the matrices that they change are held as F32.
Result<OpenModel> open_model(const std::string& name, int n_threads, const std::vector<std::string>& lora = {});

Result<std::string> read_text_file(const std::string& path);
Result<std::string> read_stdin();

std::string human_bytes(double bytes);  // "1.17 GB"
double now_seconds();                   // a monotonic clock

// JSON text of any bytes: invalid UTF-8 becomes U+FFFD.
std::string json_quote(std::string_view text);

// The most memory that this process has had at once; 0 when unknown.
uint64_t peak_resident_bytes();

// Bytes that a process may still take without swapping, 0 when unknown.
uint64_t available_memory();

}  // namespace sterna
