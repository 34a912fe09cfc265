// A GGUF file as a source of models: its metadata as they are, its tensors decoded from whatever type they have.
// Immutable after opening; read_rows() may be called from many threads at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "convert/model_source.h"
#include "format/gguf.h"

namespace sterna {

class GgufSource : public ModelSource {
public:
    static Result<std::unique_ptr<GgufSource>> open(const std::string& path);
    // The same of a file that is open already.
    static std::unique_ptr<GgufSource> from_file(std::unique_ptr<GgufFile> file, const std::string& path);

    const GgufFile& file() const { return *file_; }

    Status write_metadata(GgufWriter& writer) const override;
    std::span<const SourceTensor> tensors() const override { return tensors_; }
    Status read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const override;
    void release(const SourceTensor& tensor) const override;
    uint64_t source_bytes() const override { return source_bytes_; }
    std::string identity() const override;

private:
    GgufSource() = default;

    std::unique_ptr<GgufFile> file_;
    std::string path_;
    std::vector<SourceTensor> tensors_;
    uint64_t source_bytes_ = 0;
};

}  // namespace sterna
