// A trained network as a model: its metadata, its tensors, and the files that other programs load. Thread-compatible.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/model_source.h"
#include "format/gguf.h"
#include "train/net.h"
#include "train/recipe.h"

namespace sterna::train {

// A GGUF file in memory.
class MemoryGguf {
public:
    static Result<MemoryGguf> from_writer(const GgufWriter& writer, std::string name);
    const GgufFile& file() const { return *file_; }
    Bytes bytes() const { return *bytes_; }

private:
    std::unique_ptr<std::vector<uint8_t>> bytes_;
    std::unique_ptr<GgufFile> file_;
};

// Of a bitnet-b1.58 model that was trained without rounding: true. A training that begins from it does not round either.
inline constexpr std::string_view kFloatMatricesKey = "sterna.training.float_matrices";

// Everything that the finished files say besides the tensors. `tokenizer` gives the keys that begin with "tokenizer.".
Result<MemoryGguf> model_metadata(const Recipe& recipe, const NetConfig& net, const GgufFile& tokenizer);

// The same of a model that was trained further: what it said, but for its name and what the recipe says.
Result<MemoryGguf> changed_metadata(const Recipe& recipe, const GgufFile& base);

struct TrainedTensor {
    std::string name;
    int64_t rows = 0, cols = 0;
    bool is_vector = false, ternary = false;
    std::span<const float> values;  // [rows, cols]
};

std::vector<TrainedTensor> tensors_of(std::span<const Parameter> parameters);

// The scale of a ternary matrix, as the network computes it: the mean of |w|, but not 0.
float ternary_scale(const TrainedTensor& tensor);
// values -> scale * (-1, 0 or 1), `n` of them.
void ternary_values(std::span<const float> values, float scale, std::span<float> to);

// The tensors as the forward pass uses them: ternary ones have three values, of which the ternary block types keep
// everything but the last bits of the scale.
class TrainedModel : public ModelSource {
public:
    // `masters`: the floats that are trained instead. Lifetime: metadata and values outlive this.
    TrainedModel(const GgufFile& metadata, std::vector<TrainedTensor> tensors, bool masters = false);

    Status write_metadata(GgufWriter& writer) const override;
    std::span<const SourceTensor> tensors() const override { return sources_; }
    Status read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const override;
    uint64_t source_bytes() const override;

private:
    const GgufFile& metadata_;
    std::vector<TrainedTensor> trained_;
    std::vector<SourceTensor> sources_;
    std::vector<float> scales_;
};

struct ExportOptions {
    std::vector<std::string> types;  // names of type_plan.h
    std::string folder, name;
    std::string safetensors;  // a folder; empty: none
    const std::atomic<bool>* cancel = nullptr;
};

struct ExportedFile {
    std::string path, type, sha256;
    uint64_t n_bytes = 0;
};

struct ExportReport {
    std::vector<ExportedFile> files;
    std::vector<std::string> notes;
};

Result<ExportReport> export_model(const GgufFile& metadata, std::vector<TrainedTensor> tensors, ThreadPool& pool,
                                  const ExportOptions& options);

Result<ExportedFile> exported_file(std::string path, std::string type);

// The model as one file in memory, for samples while training: ternary matrices as TQ2_0 where their width allows it.
Result<MemoryGguf> model_in_memory(const GgufFile& metadata, std::vector<TrainedTensor> tensors);

}  // namespace sterna::train
