// Which files of a repository make up the model that was asked for. Thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/repo_info.h"

namespace sterna {

enum class FileKind {
    kGguf,       // a model, or a part of one
    kGgufOther,  // mmproj, imatrix, vocab: GGUF, but no model
    kWeights,    // safetensors
    kPytorch,    // pytorch_model*.bin
    kConfig,     // config.json, tokenizer files: what a checkpoint needs beside its weights
    kOther,
};

FileKind file_kind(std::string_view path);

// The storage type that a GGUF file's name states, in capitals: "Q4_K_M", "F16"; empty: none.
std::string gguf_type_of(std::string_view path);
// Whether the name states the type that was typed: case aside, and '-' like '_'. "UD-Q4_K_XL" is also "Q4_K_XL".
bool type_matches(std::string_view path, std::string_view typed);

// "m-00002-of-00003.gguf": part 2 of 3 of "m.gguf". `of` is 0 for a whole file.
struct SplitName {
    std::string base;
    unsigned part = 0, of = 0;
};
SplitName split_name(std::string_view path);

struct Choice {
    enum class Kind { kGguf, kCheckpoint, kFiles } kind = Kind::kGguf;
    std::vector<HubFile> files;  // a GGUF model: its parts in order
    std::string type;            // of a GGUF model, as its name states it
    std::string main;            // the path to hand to a reader: the first file, for a checkpoint config.json
    uint64_t total_bytes() const;
};

struct ChooseOptions {
    std::string type;                   // as typed; empty: the usual one
    std::string file;                   // exactly this file (with the other parts of a split one)
    std::vector<std::string> patterns;  // --file: everything that matches one
};

// `name` is for the errors. kNotFound: nothing fits.
Result<Choice> choose_files(std::span<const HubFile> files, const ChooseOptions& options, std::string_view name);

// The types that are taken when none is named, best first.
std::span<const std::string_view> preferred_types();

}  // namespace sterna
