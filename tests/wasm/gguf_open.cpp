// GgufFile::open for wasm tests: the core is built without files there, but the tests' files are at hand through WASI.
#include <deque>
#include <fstream>
#include <iterator>
#include <string>

#include "format/gguf.h"

namespace sterna {

Result<std::unique_ptr<GgufFile>> GgufFile::open(const std::string& path, const GgufLimits& limits) {
    static std::deque<std::string> contents;  // never freed: a GgufFile refers to its bytes
    std::ifstream file(path, std::ios::binary);
    if (!file.is_open()) return fail(ErrorCode::kNotFound, "{}: cannot be opened", path);
    contents.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    const std::string& text = contents.back();
    return from_bytes(Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()), path, limits);
}

}  // namespace sterna
