// Seeded mutations of a GGUF file that know its structure: most of them change numbers, where the damage is.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace sterna {

class GgufMutator {
public:
    GgufMutator(std::vector<uint8_t> valid, uint64_t seed) : valid_(std::move(valid)), state_(seed) {}

    // Returns: the next input. Every third is built field by field with some fields wrong, the others are changed
    // copies.
    std::vector<uint8_t> next() { return below(3) == 0 ? built() : changed(); }

private:
    uint64_t random() {
        uint64_t z = state_ += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    uint64_t below(uint64_t n) { return n ? random() % n : 0; }
    bool one_in(uint64_t n) { return below(n) == 0; }

    uint64_t extreme(size_t size) {
        const uint64_t values[] = {0,
                                   1,
                                   2,
                                   3,
                                   7,
                                   8,
                                   9,
                                   16,
                                   31,
                                   32,
                                   33,
                                   255,
                                   256,
                                   65535,
                                   65536,
                                   0x7fffffff,
                                   0x80000000u,
                                   0xffffffffu,
                                   uint64_t(1) << 32,
                                   uint64_t(1) << 40,
                                   uint64_t(1) << 60,
                                   uint64_t(1) << 61,
                                   uint64_t(1) << 62,
                                   uint64_t(1) << 63,
                                   ~uint64_t(0),
                                   ~uint64_t(0) - 31,
                                   uint64_t(INT64_MAX),
                                   size,
                                   size - 1,
                                   size + 1,
                                   below(size + 1),
                                   below(64),
                                   random()};
        return values[below(std::size(values))];
    }

    std::vector<uint8_t> changed() {
        std::vector<uint8_t> bytes = valid_;
        const uint64_t n = 1 + below(4);
        for (uint64_t i = 0; i < n && !bytes.empty(); ++i) {
            const size_t at = size_t(below(bytes.size()));
            switch (below(9)) {
                case 0:
                    bytes[at] ^= uint8_t(1u << below(8));
                    break;
                case 1:
                    bytes[at] = uint8_t(random());
                    break;
                case 2:
                    bytes.resize(at);
                    break;
                case 3:
                    bytes.erase(bytes.begin() + long(at),
                                bytes.begin() + long(at + below(std::min<size_t>(16, bytes.size() - at) + 1)));
                    break;
                case 4:
                    bytes.insert(bytes.begin() + long(at), size_t(1 + below(16)), uint8_t(random()));
                    break;
                case 5: {  // a run copied over another place: keys and names twice, types of another field
                    const size_t from = size_t(below(bytes.size()));
                    const size_t length = std::min({size_t(1 + below(48)), bytes.size() - at, bytes.size() - from});
                    std::memmove(bytes.data() + at, bytes.data() + from, length);
                    break;
                }
                default: {  // a number, small ones at any place
                    const uint64_t value = extreme(bytes.size());
                    const size_t width = one_in(2) ? 8 : 4;
                    if (bytes.size() - at >= width) std::memcpy(bytes.data() + at, &value, width);
                }
            }
        }
        return bytes;
    }

    template <typename T>
    void put(T value) {
        const size_t at = out_.size();
        out_.resize(at + sizeof(T));
        std::memcpy(out_.data() + at, &value, sizeof(T));
    }
    // The right number, but for one in 40.
    template <typename T>
    void number(T right) {
        put(one_in(40) ? T(extreme(out_.size())) : right);
    }
    void text(const std::string& text) {
        number(uint64_t(text.size()));
        out_.insert(out_.end(), text.begin(), text.end());
    }

    void value(uint32_t type, int depth) {
        constexpr uint8_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        if (type == 8) return text(std::string(size_t(below(12)), 'v'));
        if (type == 9) {
            const uint32_t inner = depth > 3 ? 0 : uint32_t(below(13));
            const uint64_t n = below(6);
            number(inner);
            number(n);
            for (uint64_t i = 0; i < n; ++i) value(inner, depth + 1);
            return;
        }
        for (int i = 0; type < 13 && i < kBytes[type]; ++i)
            out_.push_back(uint8_t(type == 7 && !one_in(20) ? below(2) : random()));
    }

    std::vector<uint8_t> built() {
        constexpr const char* kKeys[] = {"general.alignment", "split.count", "split.no", "split.tensors.count",
                                         "general.architecture"};
        constexpr uint32_t kTypes[] = {0,  1,  2,  3,  6,  7,  8,  10, 11, 12, 13, 14,
                                       20, 23, 24, 25, 26, 27, 28, 30, 34, 35, 39};
        constexpr uint32_t kBlock[] = {1,  1,   32, 32, 32, 32, 32, 256, 256, 256, 256, 256,
                                       32, 256, 1,  1,  1,  1,  1,  1,   256, 256, 32};
        constexpr uint32_t kBytes[] = {4,  2,   18, 20, 22, 24, 34, 84, 110, 144, 176, 210,
                                       18, 136, 1,  2,  4,  8,  8,  2,  54,  66,  17};
        out_.assign({'G', 'G', 'U', 'F'});
        const uint64_t n_tensors = below(6), n_values = below(8);
        number(uint32_t(2 + below(2)));
        number(n_tensors);
        number(n_values);
        for (uint64_t i = 0; i < n_values; ++i) {
            const bool known = one_in(6);
            text(known ? kKeys[below(5)] : fmt::format("key{}", one_in(30) ? 0 : i));
            const uint32_t type = known ? 4 : uint32_t(below(13));
            number(type);
            if (known)
                put(uint32_t(one_in(3) ? extreme(99) : uint64_t(1) << below(8)));
            else
                value(type, 0);
        }
        uint64_t offset = 0;
        for (uint64_t i = 0; i < n_tensors; ++i) {
            const size_t t = size_t(below(std::size(kTypes)));
            text(fmt::format("t{}", one_in(30) ? 0 : i));
            const uint32_t n_dims = 1 + uint32_t(below(4));
            number(n_dims);
            uint64_t bytes = kBytes[t];
            number(uint64_t(kBlock[t]));
            for (uint32_t d = 1; d < n_dims; ++d) {
                const uint64_t size = 1 + below(3);
                number(size);
                bytes *= size;
            }
            number(kTypes[t]);
            number(offset);
            offset += (bytes + 31) / 32 * 32;
        }
        out_.resize((out_.size() + 31) / 32 * 32 + size_t(offset), uint8_t(random()));
        if (one_in(4)) out_.resize(size_t(below(out_.size() + 1)));
        return out_;
    }

    std::vector<uint8_t> valid_, out_;
    uint64_t state_;
};

}  // namespace sterna
