// Which reader a path is for: by the names of files, never by trying one reader after the other, so that an error is
// that of the reader which was meant.
#include <filesystem>

#include "base/mapped_file.h"
#include "convert/checkpoint.h"
#include "convert/readers.h"
#include "format/torch_archive.h"

namespace sterna {

namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& folder, std::string_view extension) {
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(folder, problem))
        if (entry.path().extension() == extension) return true;
    return false;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path) {
    std::error_code problem;
    const fs::file_status status = fs::status(path, problem);
    if (!fs::exists(status)) return fail(ErrorCode::kNotFound, "{}: no such file or folder", path);
    if (fs::is_directory(status)) {
        if (holds(path, ".safetensors") || fs::exists(fs::path(path) / "model.safetensors.index.json", problem))
            return open_safetensors(path);
        for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
            if (fs::exists(fs::path(path) / name, problem)) return open_torch(path);
        if (holds(path, ".onnx")) return open_onnx(path);
        return fail(ErrorCode::kNotFound, "{}: holds no checkpoint (*.safetensors, pytorch_model.bin, *.onnx)", path);
    }
    const std::string extension = fs::path(path).extension().string();
    if (extension == ".safetensors" || path.ends_with(".safetensors.index.json")) return open_safetensors(path);
    if (extension == ".onnx") return open_onnx(path);
    if (extension == ".pt" || extension == ".pth" || path.ends_with(".bin.index.json")) return open_torch(path);
    if (extension == ".bin") {
        // Two kinds share this ending; the first bytes tell them apart.
        STERNA_TRY(file, MappedFile::open(path));
        return is_torch_file(file.bytes()) ? open_torch(path) : open_llama2c(path);
    }
    return fail(ErrorCode::kUnsupported,
                "{}: not a kind of checkpoint that Sterna reads (*.safetensors, *.bin, *.pt, *.pth, *.onnx)", path);
}

}  // namespace sterna
