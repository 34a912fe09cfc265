// LoRA adapters (Hu et al., arXiv 2106.09685) as GGUF files, in llama.cpp's layout:
//
//   general.type = "adapter", adapter.type = "lora", general.architecture, adapter.lora.alpha (f32)
//   NAME.lora_a [n_in, rank], NAME.lora_b [rank, n_out]: the model's matrix NAME becomes NAME + alpha / rank * B A
//
// and the model that a base and its adapters make together. Immutable after opening; share freely.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/model_source.h"
#include "format/gguf.h"

namespace sterna {

class LoraAdapter {
public:
    struct Limits {
        int64_t max_rank = 4096;
        uint64_t max_bytes = uint64_t(1) << 33;  // of all values, as floats
    };

    static Result<LoraAdapter> open(const std::string& path, const Limits& limits);
    static Result<LoraAdapter> open(const std::string& path) { return open(path, Limits()); }

    const std::string& path() const { return path_; }
    const std::string& digest() const { return digest_; }  // of all values
    size_t size() const { return pairs_.size(); }
    bool changes(std::string_view name) const { return pairs_.contains(name); }
    // Errors: a tensor of the adapter that the model lacks or has in another shape; another architecture.
    Status check(std::string_view architecture, std::span<const SourceTensor> tensors) const;
    // Rows [first, first + n) of the matrix, n_in values each, become those of the adapted one. Terms are added in order
    // of rank: one result for all thread counts.
    void add_to_rows(std::string_view name, int64_t first, int64_t n, std::span<float> rows) const;

private:
    struct Pair {
        int64_t n_in = 0, n_out = 0, rank = 0;
        std::vector<float> a, b;  // [rank, n_in], [n_out, rank] times alpha / rank
    };
    std::string path_, architecture_, digest_;
    std::map<std::string, Pair, std::less<>> pairs_;
};

Result<std::vector<LoraAdapter>> open_adapters(const std::vector<std::string>& paths);

// A base with adapters merged into it, on its way into a file.
class AdaptedSource : public ModelSource {
public:
    static Result<std::unique_ptr<ModelSource>> create(std::unique_ptr<ModelSource> base,
                                                       std::vector<LoraAdapter> adapters);

    Status write_metadata(GgufWriter& writer) const override { return base_->write_metadata(writer); }
    std::span<const SourceTensor> tensors() const override { return tensors_; }
    Status read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const override;
    void release(const SourceTensor& tensor) const override;
    uint64_t source_bytes() const override { return base_->source_bytes(); }
    std::string identity() const override;

private:
    AdaptedSource() = default;
    const SourceTensor& of_base(const SourceTensor& tensor) const;

    std::unique_ptr<ModelSource> base_;
    std::vector<LoraAdapter> adapters_;
    std::vector<SourceTensor> tensors_;
};

// The same for loading: adapted matrices are decoded, added to and held as F32; the others stay where they are.
class AdaptedTensors : public TensorSource {
public:
    // Lifetime: the file outlives this.
    static Result<std::unique_ptr<AdaptedTensors>> create(const GgufFile& file,
                                                          const std::vector<LoraAdapter>& adapters, ThreadPool& pool);

    const TensorView* find_tensor(std::string_view name) const override;
    void release(const TensorView& tensor) const override;
    const std::string& digest() const { return digest_; }  // of all adapters, in order

private:
    explicit AdaptedTensors(const GgufFile& file) : file_(file) {}
    struct Adapted {
        TensorView view;
        std::vector<float> values;
    };
    const GgufFile& file_;
    std::string digest_;
    std::map<std::string, Adapted, std::less<>> adapted_;
};

}  // namespace sterna
