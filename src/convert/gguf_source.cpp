#include "convert/gguf_source.h"

#include <filesystem>

namespace sterna {

Result<std::unique_ptr<GgufSource>> GgufSource::open(const std::string& path) {
    STERNA_TRY(file, GgufFile::open(path));
    return from_file(std::move(file), path);
}

std::unique_ptr<GgufSource> GgufSource::from_file(std::unique_ptr<GgufFile> file, const std::string& path) {
    std::unique_ptr<GgufSource> source(new GgufSource());
    source->path_ = path;
    for (const TensorView& view : file->tensors()) {
        SourceTensor tensor;
        tensor.name = view.name;
        tensor.shape.assign(view.shape.begin(), view.shape.begin() + view.n_dims);
        tensor.exact = view.type;
        tensor.stored = view.data;
        source->source_bytes_ += view.data.size();
        source->tensors_.push_back(std::move(tensor));
    }
    source->file_ = std::move(file);
    return source;
}

Status GgufSource::write_metadata(GgufWriter& writer) const {
    for (const GgufValue& value : file_->values()) {
        if (value.key == "general.file_type" || value.key == "general.quantization_version") continue;
        STERNA_CHECK(writer.set_value(value));
    }
    return {};
}

Status GgufSource::read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const {
    const DTypeTraits* traits = dtype_traits(tensor.exact);
    if (!traits || !traits->decode)
        return fail(ErrorCode::kUnsupported, "{}: {} holds no weights", tensor.name,
                    dtype_name_of_number(uint32_t(tensor.exact)));
    const uint64_t row_bytes = *dtype_bytes(tensor.exact, uint64_t(tensor.row_elements()));
    traits->decode(tensor.stored.data() + uint64_t(first) * row_bytes, to.data(), n * tensor.row_elements());
    return {};
}

void GgufSource::release(const SourceTensor& tensor) const {
    if (const TensorView* view = file_->find_tensor(tensor.name)) file_->release(*view);
}

std::string GgufSource::identity() const {
    std::error_code error;
    const auto changed = std::filesystem::last_write_time(path_, error);
    return fmt::format("{} {} {}", std::filesystem::absolute(path_, error).string(), file_->file_bytes(),
                       error ? 0 : changed.time_since_epoch().count());
}

}  // namespace sterna
