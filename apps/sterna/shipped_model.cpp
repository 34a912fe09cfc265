#include "shipped_model.h"

#include <filesystem>

// shipped_model.S
extern "C" const uint8_t sterna_shipped_model[], sterna_shipped_model_end[];

namespace sterna {

Result<std::unique_ptr<GgufFile>> open_gguf(const std::string& path) {
    std::error_code error;
    if (path != kShippedModel || std::filesystem::exists(path, error)) return GgufFile::open(path);
    return GgufFile::from_bytes({sterna_shipped_model, sterna_shipped_model_end}, kShippedModel);
}

}  // namespace sterna
