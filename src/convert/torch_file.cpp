// PyTorch checkpoints: one file of torch.save(), or the shards that pytorch_model.bin.index.json lists.

#include <algorithm>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/printable.h"
#include "convert/listed_checkpoint.h"
#include "convert/readers.h"
#include "format/torch_archive.h"

namespace sterna {

namespace {

constexpr size_t kMaxIndexBytes = size_t(1) << 27;
constexpr size_t kMaxShards = 4096;

// Rows of a transposed or sliced tensor, element by element.
void read_strided(const TorchTensor& tensor, int64_t first, std::span<float> to) {
    const size_t rank = tensor.shape.size();
    std::vector<int64_t> at(rank);
    int64_t rest = first, offset = 0;
    for (size_t i = rank; i-- > 0;) {
        at[i] = rest % tensor.shape[i];
        rest /= tensor.shape[i];
        offset += at[i] * tensor.strides[i];
    }
    for (float& value : to) {
        read_elements(tensor.type, tensor.data, offset, std::span(&value, 1));
        for (size_t i = rank; i-- > 0;) {
            offset += tensor.strides[i];
            if (++at[i] < tensor.shape[i]) break;
            offset -= at[i] * tensor.strides[i];
            at[i] = 0;
        }
    }
}

class TorchCheckpoint final : public ListedCheckpoint {
public:
    Status add_file(const std::string& path) {
        STERNA_TRY(file, MappedFile::open(path));
        STERNA_TRY(tensors, read_torch_file(file.bytes(), path));
        if (tensors.size() > kMaxCheckpointTensors - tensors_.size())
            return fail(ErrorCode::kLimit, "{}: more than {} tensors", path, kMaxCheckpointTensors);
        for (TorchTensor& tensor : tensors) {
            if (tensor.name.size() > kMaxTensorNameBytes)
                return fail(ErrorCode::kLimit, "{}: a tensor name of {} bytes, at most {}", path, tensor.name.size(),
                            kMaxTensorNameBytes);
            CheckpointTensor shown{tensor.name, tensor.shape, element_exact(tensor.type), {}};
            if (tensor.contiguous && element_is_stored(tensor.type)) shown.stored = tensor.data;
            if (!tensor.contiguous && is_integer(shown.exact))
                return fail(ErrorCode::kUnsupported, "{}: {}: transposed integers", path, printable(tensor.name));
            tensors_.push_back(std::move(shown));
            sources_.push_back({std::move(tensor), files_.size()});
        }
        files_.push_back(std::move(file));
        return {};
    }

    Status finish(const std::string& path) { return index_names(path); }

    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        const TorchTensor& source = sources_[position(tensor)].tensor;
        if (source.contiguous) {
            read_elements(source.type, source.data, first, to);
        } else {
            read_strided(source, first, to);
        }
        return {};
    }

    void release(const CheckpointTensor& tensor) const override {
        const Source& source = sources_[position(tensor)];
        if (!source.tensor.data.empty()) files_[source.file].release(source.tensor.data);
    }

private:
    struct Source {
        TorchTensor tensor;
        size_t file;
    };

    static bool is_integer(DType type) {
        return type == DType::kI8 || type == DType::kI16 || type == DType::kI32 || type == DType::kI64;
    }

    std::vector<MappedFile> files_;
    std::vector<Source> sources_;
};

// The shards of an index, each once.
Result<std::set<std::string>> shards_of(const std::string& path) {
    STERNA_TRY(file, MappedFile::open(path));
    if (file.bytes().size() > kMaxIndexBytes)
        return fail(ErrorCode::kLimit, "{}: {} bytes, at most {}", path, file.bytes().size(), kMaxIndexBytes);
    const nlohmann::json index =
        nlohmann::json::parse(file.bytes().begin(), file.bytes().end(), nullptr, /*allow_exceptions=*/false);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
        return fail(ErrorCode::kBadFile, "{}: no weight_map in it", path);
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : index["weight_map"].items()) {
        if (!shard.is_string())
            return fail(ErrorCode::kBadFile, "{}: the file of {} is no string", path, printable(tensor));
        const std::string name = shard.get<std::string>();
        if (name.empty() || name == "." || name == ".." ||
            name.find_first_of(std::string_view("/\\\0", 3)) != name.npos)
            return fail(ErrorCode::kBadFile, "{}: file name '{}' leaves the folder", path, printable(name));
        shards.insert(name);
        if (shards.size() > kMaxShards) return fail(ErrorCode::kLimit, "{}: more than {} files", path, kMaxShards);
    }
    if (shards.empty()) return fail(ErrorCode::kBadFile, "{}: lists no files", path);
    return shards;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_torch(const std::string& path) {
    namespace fs = std::filesystem;
    auto checkpoint = std::make_unique<TorchCheckpoint>();
    std::error_code ignored;
    fs::path index = path;
    if (fs::is_directory(path, ignored)) {
        index = fs::path(path) / "pytorch_model.bin.index.json";
        if (!fs::exists(index, ignored)) {
            const fs::path only = fs::path(path) / "pytorch_model.bin";
            if (!fs::exists(only, ignored))
                return fail(ErrorCode::kNotFound, "{}: neither pytorch_model.bin nor its index in it", path);
            index = only;
        }
    }
    if (index.extension() == ".json") {
        STERNA_TRY(shards, shards_of(index.string()));
        for (const std::string& shard : shards) {
            const std::string shard_path = (index.parent_path() / shard).string();
            if (!fs::exists(shard_path, ignored))
                return fail(ErrorCode::kNotFound, "{}: missing, but {} lists it", shard_path,
                            index.filename().string());
            STERNA_CHECK(checkpoint->add_file(shard_path));
        }
    } else {
        STERNA_CHECK(checkpoint->add_file(index.string()));
    }
    STERNA_CHECK(checkpoint->finish(path));
    return checkpoint;
}

}  // namespace sterna
