// Builds GGUF bytes field by field, right or wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "format/gguf.h"

namespace sterna {

class RawGguf {
public:
    RawGguf(uint32_t version, uint64_t n_tensors, uint64_t n_values) {
        bytes_.assign({'G', 'G', 'U', 'F'});
        put(version).put(n_tensors).put(n_values);
    }

    template <typename T>
    RawGguf& put(T value) {
        const size_t at = bytes_.size();
        bytes_.resize(at + sizeof(T));
        std::memcpy(bytes_.data() + at, &value, sizeof(T));
        return *this;
    }
    RawGguf& text(std::string_view text) {
        put(uint64_t(text.size()));
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        return *this;
    }
    RawGguf& key(std::string_view name, GgufType type) { return text(name).put(uint32_t(type)); }
    RawGguf& tensor(std::string_view name, const std::vector<int64_t>& shape, uint32_t type, uint64_t offset) {
        text(name).put(uint32_t(shape.size()));
        for (int64_t size : shape) put(size);
        return put(type).put(offset);
    }
    // Fills up to the next multiple of `alignment`, then n bytes of data.
    RawGguf& data(size_t n, size_t alignment = 32) {
        bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment + n);
        return *this;
    }

    const std::vector<uint8_t>& bytes() const { return bytes_; }

private:
    std::vector<uint8_t> bytes_;
};

}  // namespace sterna
