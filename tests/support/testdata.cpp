#include "support/testdata.h"

#include <cstdlib>

namespace sterna {

std::filesystem::path source_path(const std::string& relative) {
    return std::filesystem::path(STERNA_SOURCE_DIR) / relative;
}

std::optional<std::filesystem::path> shared_testdata(const std::string& relative) {
    const char* given = std::getenv("STERNA_TESTDATA");
    std::filesystem::path root = given ? std::filesystem::path(given) : source_path("../shared/testdata");
    std::filesystem::path path = root / relative;
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return std::nullopt;
    return path;
}

}  // namespace sterna
