// Which reader a path is for: by the names of files, never by trying one reader after the other, so that an error is
// that of the reader which was meant.
#include <filesystem>

#include "convert/checkpoint.h"
#include "convert/readers.h"

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
        return fail(ErrorCode::kNotFound, "{}: holds no checkpoint (*.safetensors)", path);
    }
    const std::string extension = fs::path(path).extension().string();
    if (extension == ".safetensors" || path.ends_with(".safetensors.index.json")) return open_safetensors(path);
    return fail(ErrorCode::kUnsupported, "{}: not a kind of checkpoint that Sterna reads (*.safetensors)", path);
}

}  // namespace sterna
