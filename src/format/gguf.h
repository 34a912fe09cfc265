// GGUF versions 2 and 3, little-endian: reader (mapped, split files) and writer.
//
//   "GGUF" | u32 version | i64 n_tensors | i64 n_kv | kv... | tensor info... | padding | tensor data...
//
// The reader checks every size, offset and count before it is used; a file that passes open() is safe to read in every
// part. Source of the layout: ggml docs/gguf.md. Immutable after load; share freely.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/bytes.h"
#include "base/function_ref.h"
#include "base/metadata.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace sterna {

enum class GgufType : uint32_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kString,
    kArray,
    kU64,
    kI64,
    kF64,
};

struct GgufLimits {
    uint64_t max_tensors = 1u << 17;  // the largest files have some 20,000
    uint64_t max_keys = 1u << 16;
    uint64_t max_key_bytes = 65535;     // the format's own
    uint64_t max_name_bytes = 4096;     // the format says 64; longer ones are met in practice
    uint64_t max_alignment = 1u << 20;  // 32 in practice
    uint64_t max_array_depth = 2;
    uint64_t max_array_elements =
        1u << 24;  // get_*s() copies: 16 bytes an element, so 256 MiB at most; vocabularies have 300,000
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
    // Opens `path`; when it is part of a split file (split.count > 1), opens all parts beside it. Not in builds without
    // files.
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
    const std::vector<GgufValue>& values() const;    // of the first part, in file order
    const std::vector<TensorView>& tensors() const;  // of all parts, in file order

    uint64_t alignment() const;                               // of the first part
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
    struct Parsed;  // a part that has been parsed already
    explicit GgufFile(std::unique_ptr<Impl> impl);
    static Result<std::unique_ptr<GgufFile>> join(std::vector<NamedBytes> parts, Parsed* parsed,
                                                  const GgufLimits& limits);
    std::unique_ptr<Impl> impl_;
};

// Writes GGUF version 3. Keys and tensors are written in the order in which they were first set or added.
// Errors are of the caller's making (a key twice as a tensor name, a shape that breaks blocks, a value out of its
// type's range) or the system's. Thread-compatible.
class GgufWriter {
public:
    // Receives the next bytes of a tensor.
    using Sink = FunctionRef<Status(Bytes)>;
    // Passes a tensor's bytes to the sink in order, in pieces of any size, exactly dtype_bytes() in all. Called once
    // per write.
    using Producer = std::function<Status(Sink)>;

    struct Options {
        // Above 0: start a new part, `name-00001-of-0000N.gguf`, before a part's tensor data would grow beyond this. A
        // tensor is never cut, so a part with one tensor may be larger.
        uint64_t max_part_bytes = 0;
    };

    // Set a key; one that is already there keeps its place and gets the new value. "general.alignment" is obeyed;
    // keys under "split." say how a source was split and are not written.
    Status set_int(std::string_view key, GgufType type, int64_t value);   // any integer type
    Status set_float(std::string_view key, GgufType type, double value);  // f32 or f64
    Status set_u32(std::string_view key, uint32_t value) { return set_int(key, GgufType::kU32, value); }
    Status set_u64(std::string_view key, uint64_t value);
    Status set_f32(std::string_view key, float value);
    Status set_bool(std::string_view key, bool value);
    Status set_string(std::string_view key, std::string_view value);
    Status set_ints(std::string_view key, GgufType element_type,
                    std::span<const int64_t> values);  // integers, or bools as 0/1
    Status set_floats(std::string_view key, GgufType element_type, std::span<const double> values);
    Status set_strings(std::string_view key, std::span<const std::string_view> values);
    Status set_value(const GgufValue& value);  // as a reader gave it, unchanged
    void remove(std::string_view key);

    // `shape` fastest dimension first, 1 to 4 of them. Lifetime of the bytes: until written.
    Status add_tensor(std::string name, DType type, std::span<const int64_t> shape, Bytes data);
    Status add_tensor(std::string name, DType type, std::span<const int64_t> shape, Producer producer);

    // Streams to temporary files beside `path` and renames them when all are complete: whole files or none.
    // Returns: the paths written, one per part. Not in builds without files.
    Result<std::vector<std::string>> write(const std::string& path, const Options& options) const;
    Result<std::vector<std::string>> write(const std::string& path) const { return write(path, Options()); }
    // The same as one file, in memory.
    Result<std::vector<uint8_t>> to_bytes() const;

    // What write() would write, for callers that bring the tensors' bytes to their places themselves: gaps are zeros.
    struct FilePlan {
        std::string path;
        std::vector<uint8_t> header;    // from offset 0
        size_t begin, end;              // tensors, in order of adding
        std::vector<uint64_t> offsets;  // of each in the file
        uint64_t n_bytes;               // of the whole file
    };
    Result<std::vector<FilePlan>> plan_files(const std::string& path, const Options& options) const;

private:
    struct Value {
        std::string key;
        GgufType type, element_type;
        uint64_t n_elements;
        std::vector<uint8_t> payload;
    };
    struct Tensor {
        std::string name;
        DType type;
        std::vector<int64_t> shape;
        uint64_t n_bytes;
        Bytes data;
        Producer producer;  // empty: `data` is meant
    };
    struct Part {
        size_t begin, end;  // tensors
    };

    Status put(std::string_view key, GgufType type, GgufType element_type, uint64_t n_elements,
               std::vector<uint8_t> payload);
    Status add(Tensor tensor);
    Result<uint64_t> alignment() const;
    std::vector<Part> parts(uint64_t alignment, uint64_t max_part_bytes) const;
    std::vector<uint8_t> header(Part part, size_t number, size_t n_parts, uint64_t alignment) const;
    Status tensor_data(const Tensor& tensor, uint64_t alignment, Sink sink) const;

    std::vector<Value> values_;
    std::unordered_map<std::string, size_t> key_at_;
    std::vector<Tensor> tensors_;
    std::unordered_set<std::string> names_;
};

}  // namespace sterna
