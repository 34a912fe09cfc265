// GGUF versions 2 and 3, little-endian: reader (mapped, split files) and writer.
//
//   "GGUF" | u32 version | i64 n_tensors | i64 n_kv | kv... | tensor info... | padding | tensor data...
//
// The reader checks every size, offset and count before it is used; a file that passes open() is safe to read in every part.
// Source of the layout: ggml docs/gguf.md. Immutable after load; share freely.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/metadata.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace sterna {

enum class GgufType : uint32_t {
    kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64,
};

struct GgufLimits {
    uint64_t max_tensors = 1u << 17;         // the largest files have some 20,000
    uint64_t max_keys = 1u << 16;
    uint64_t max_key_bytes = 65535;          // the format's own
    uint64_t max_name_bytes = 4096;          // the format says 64; longer ones are met in practice
    uint64_t max_alignment = 1u << 20;       // 32 in practice
    uint64_t max_array_depth = 2;
    uint64_t max_array_elements = 1u << 24;  // get_*s() copies: 16 bytes an element, so 256 MiB at most; vocabularies have 300,000
    uint64_t max_splits = 1024;
};

// One metadata value, referring to the file's bytes.
struct GgufValue {
    std::string_view key;
    GgufType type;
    GgufType element_type = GgufType::kU8;  // of an array
    uint64_t n_elements = 1;                // of an array
    Bytes payload;                          // value bytes; for arrays the elements, for strings their text
};

class GgufFile : public Metadata, public TensorSource {
public:
    // Opens `path`; when it is part of a split file (split.count > 1), opens all parts beside it. Not in builds without files.
    static Result<std::unique_ptr<GgufFile>> open(const std::string& path, const GgufLimits& limits = {});
    // Reads a whole unsplit file from memory. Lifetime: the bytes outlive the file. `name` is for messages.
    static Result<std::unique_ptr<GgufFile>> from_bytes(Bytes bytes, std::string name, const GgufLimits& limits = {});
    // The same for a split file: all its parts, in order.
    struct NamedBytes {
        std::string name;
        Bytes bytes;
    };
    static Result<std::unique_ptr<GgufFile>> from_parts(std::vector<NamedBytes> parts, const GgufLimits& limits = {});
    ~GgufFile() override;

    uint32_t version() const;
    uint64_t file_bytes() const;  // all parts
    size_t n_parts() const;
    const std::vector<GgufValue>& values() const;      // of the first part, in file order
    const std::vector<TensorView>& tensors() const;    // of all parts, in file order

    uint64_t alignment() const;                        // of the first part
    const GgufValue* find_value(std::string_view key) const;  // null when absent

    bool has(std::string_view key) const override;
    std::optional<int64_t> get_int(std::string_view key) const override;
    std::optional<double> get_float(std::string_view key) const override;
    std::optional<bool> get_bool(std::string_view key) const override;
    std::optional<std::string_view> get_string(std::string_view key) const override;
    std::optional<std::vector<int64_t>> get_ints(std::string_view key) const override;
    std::optional<std::vector<double>> get_floats(std::string_view key) const override;
    std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const override;

    const TensorView* find_tensor(std::string_view name) const override;
    void release(const TensorView& tensor) const override;

private:
    struct Impl;
    explicit GgufFile(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sterna
