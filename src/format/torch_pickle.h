// The pickles in which PyTorch writes state dicts, read without running anything: a stack machine of the instructions that
// torch.save() emits for dictionaries, lists, numbers, strings and tensors, and a closed list of the names such a pickle
// may refer to. Any other instruction or name is refused by name. Thread-compatible.
// Source: pickletools of the Python library, and torch/_utils.py and torch/serialization.py for what the names mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "tensor/element_type.h"

namespace sterna {

constexpr size_t kMaxPickleBytes = size_t(1) << 26;   // 100,000 tensors take some 20 MB
constexpr size_t kMaxPickleValues = size_t(1) << 22;  // 64 bytes each
constexpr size_t kMaxPickleDimensions = 8;

// A storage that the pickle refers to: bytes outside it, under a key.
struct PickleStorage {
    std::string_view key;
    std::optional<ElementType> type;  // nothing: untyped, n_elements are bytes
    int64_t n_elements = 0;
};

struct PickleTensor {
    PickleStorage storage;
    ElementType type = ElementType::kF32;
    int64_t offset = 0;            // into the storage, in elements
    std::vector<int64_t> shape;    // as strides, slowest dimension first
    std::vector<int64_t> strides;  // in elements
};

struct PickleValue {
    enum class Kind : uint8_t {
        kNone,
        kMark,
        kBool,
        kInteger,
        kFloat,
        kText,
        kTuple,
        kList,
        kDict,     // items: key, value, key, value...
        kGlobal,   // integer: which
        kStorage,  // integer: index into storages
        kTensor,   // integer: index into tensors
        kOpaque,   // something allowed that nobody looks into
    };
    Kind kind = Kind::kNone;
    int64_t integer = 0;
    std::string_view text;
    std::vector<uint32_t> items;
};

// Lifetime: texts point into the bytes that were read.
class PickleReader {
public:
    // `path` is for messages.
    explicit PickleReader(std::string path) : path_(std::move(path)) {}

    // Runs one pickle from the reader's position to its STOP.
    // Returns: the index of its result among values().
    Result<uint32_t> run(ByteReader& reader);

    const std::vector<PickleValue>& values() const { return values_; }
    const std::vector<PickleTensor>& tensors() const { return tensors_; }

private:
    using Kind = PickleValue::Kind;

    Status step(uint8_t op, ByteReader& reader);
    Status step_literal(uint8_t op, ByteReader& reader, bool& known);
    Status push(PickleValue value);
    Status push_index(uint32_t index);
    Status push_text(std::optional<std::string_view> text);
    Status push_integer(std::optional<int64_t> value);
    Result<uint32_t> pop();
    Result<std::vector<uint32_t>> pop_to_mark();
    Result<PickleValue*> top(Kind wanted, const char* what);
    Status put(std::optional<uint32_t> slot);
    Status get(std::optional<uint32_t> slot);
    Status push_global(std::string_view module, std::string_view name);
    Status reduce();
    Status rebuild_tensor(const std::vector<uint32_t>& arguments, bool with_type);
    Status persistent();
    Result<std::vector<int64_t>> integers_of(uint32_t index) const;
    std::unexpected<Error> broken(std::string_view what) const;

    std::string path_;
    size_t at_ = 0;  // of the running instruction, for messages
    std::vector<PickleValue> values_;
    std::vector<uint32_t> stack_;
    std::vector<std::optional<uint32_t>> memo_;
    std::vector<PickleStorage> storages_;
    std::vector<PickleTensor> tensors_;
};

}  // namespace sterna
