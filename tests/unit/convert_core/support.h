// What the converter's tests share: folders of their own, checkpoints made on the spot, and a model written and read back.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "convert/hf_model.h"
#include "format/gguf.h"
#include "format/safetensors.h"

namespace sterna {

namespace fs = std::filesystem;

// A new folder that goes with the object.
class Folder {
public:
    Folder() {
        std::string pattern = (fs::temp_directory_path() / "sterna-convert-XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    fs::path operator/(const std::string& name) const { return path_ / name; }
    std::string string() const { return path_.string(); }
    void write(const std::string& name, std::string_view text) const {
        std::ofstream(path_ / name, std::ios::binary) << text;
    }

private:
    fs::path path_;
};

inline std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// A safetensors file from its header text and data, with whatever is wrong with them.
inline std::string raw_safetensors(std::string_view header, std::string_view data) {
    std::string file(8, '\0');
    const uint64_t n = header.size();
    std::memcpy(file.data(), &n, sizeof n);
    return file + std::string(header) + std::string(data);
}

inline Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// F32 tensors by name.
struct Values {
    std::vector<int64_t> shape;
    std::vector<float> values;
};
using Tensors = std::map<std::string, Values>;

inline void write_safetensors(const fs::path& path, const Tensors& tensors) {
    SafetensorsWriter writer;
    for (const auto& [name, tensor] : tensors) {
        auto producer = [&tensor](SafetensorsWriter::Sink sink) {
            return sink({reinterpret_cast<const uint8_t*>(tensor.values.data()), tensor.values.size() * sizeof(float)});
        };
        ASSERT_TRUE(writer.add(name, ElementType::kF32, tensor.shape, producer));
    }
    ASSERT_TRUE(writer.write(path.string()));
}

// The model as a GGUF file of F32 in memory. Empty after a failure.
inline std::vector<uint8_t> to_gguf_bytes(const ModelSource& source) {
    GgufWriter writer;
    EXPECT_TRUE(source.write_metadata(writer));
    for (const SourceTensor& tensor : source.tensors()) {
        auto producer = [&](GgufWriter::Sink sink) -> Status {
            std::vector<float> rows(size_t(tensor.row_elements() * tensor.n_rows()));
            // In two unequal pieces, as a writer might ask for them.
            const int64_t first = tensor.n_rows() / 3;
            const std::span<float> all(rows);
            STERNA_CHECK(source.read_rows(tensor, 0, first, all));
            STERNA_CHECK(source.read_rows(tensor, first, tensor.n_rows() - first,
                                          all.subspan(size_t(first * tensor.row_elements()))));
            return sink({reinterpret_cast<const uint8_t*>(rows.data()), rows.size() * sizeof(float)});
        };
        EXPECT_TRUE(writer.add_tensor(tensor.name, DType::kF32, tensor.shape, producer));
    }
    auto bytes = writer.to_bytes();
    EXPECT_TRUE(bytes) << bytes.error().message;
    return bytes.value_or(std::vector<uint8_t>());
}

}  // namespace sterna
