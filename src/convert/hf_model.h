// A Hugging Face checkpoint as a model on its way into a GGUF file: the architecture's tensor table gives every tensor its
// GGUF name and shape, and what has to change on the way (model/huggingface.h). Nothing is held in memory but names;
// rows are read, and changed, when they are asked for.
// Immutable after opening; read_rows() may be called from many threads at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "convert/checkpoint.h"
#include "convert/hf_config.h"
#include "convert/model_source.h"

namespace sterna {

struct HfModelOptions {
    bool allow_extra = false;  // tensors that the architecture does not know are left out, with a note, not an error
    std::string name;          // general.name; empty: the folder's
};

class HfModel : public ModelSource {
public:
    // `path` is a folder with config.json, or a checkpoint file beside one.
    static Result<std::unique_ptr<HfModel>> open(const std::string& path, const HfModelOptions& options = {});
    ~HfModel() override;

    const Architecture& architecture() const;
    const std::vector<std::string>& notes() const;  // a sentence for each thing that was not carried over
    bool has_tokenizer() const;

    Status write_metadata(GgufWriter& writer) const override;
    std::span<const SourceTensor> tensors() const override;
    Status read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const override;
    void release(const SourceTensor& tensor) const override;
    uint64_t source_bytes() const override;
    std::string identity() const override;

private:
    HfModel();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sterna
