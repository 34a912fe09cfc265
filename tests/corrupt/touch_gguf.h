// Reads everything that an accepted file offers, so that a sanitizer sees any view that reaches outside of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "format/gguf.h"

namespace sterna {

// Returns: a sum of all bytes seen. Aborts when the file contradicts itself.
inline uint64_t touch(const GgufFile& file, Bytes all) {
    uint64_t sum = file.file_bytes() + file.version() + file.alignment() + file.n_parts();
    auto add = [&](Bytes bytes) {
        if (!bytes.empty() && (bytes.data() < all.data() || bytes.data() + bytes.size() > all.data() + all.size()))
            std::abort();
        for (uint8_t b : bytes) sum = sum * 31 + b;
    };
    for (const GgufValue& value : file.values()) {
        add({reinterpret_cast<const uint8_t*>(value.key.data()), value.key.size()});
        add(value.payload);
        if (file.find_value(value.key) != &value) std::abort();
        sum += uint64_t(file.get_int(value.key).value_or(1)) + file.get_bool(value.key).value_or(false);
        sum += file.get_float(value.key).has_value();
        if (auto text = file.get_string(value.key)) sum += text->size();
        if (auto all_ints = file.get_ints(value.key)) sum += all_ints->size();
        if (auto all_floats = file.get_floats(value.key)) sum += all_floats->size();
        if (auto strings = file.get_strings(value.key)) {
            if (strings->size() != value.n_elements) std::abort();
            for (std::string_view text : *strings) add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
        }
    }
    std::vector<float> block;
    for (const TensorView& tensor : file.tensors()) {
        add({reinterpret_cast<const uint8_t*>(tensor.name.data()), tensor.name.size()});
        add(tensor.data);
        if (file.find_tensor(tensor.name) != &tensor) std::abort();
        const DTypeTraits* traits = dtype_traits(tensor.type);
        if (!traits || tensor.data.size() != dtype_bytes(tensor.type, uint64_t(tensor.n_elements()))) std::abort();
        if (traits->decode) {
            // All of it: the input is as long as the tensor, so this stays in proportion.
            block.resize(size_t(traits->block_size));
            for (size_t at = 0; at < tensor.data.size(); at += size_t(traits->block_bytes))
                traits->decode(tensor.data.data() + at, block.data(), traits->block_size);
        }
        file.release(tensor);
    }
    return sum;
}

// Reads the bytes from a heap block of exactly their size. Returns: whether they were accepted.
inline bool read_and_touch(Bytes bytes) {
    std::vector<uint8_t> exact(bytes.begin(), bytes.end());
    auto file = GgufFile::from_bytes(exact, "input");
    if (!file) {
        if (file.error().message.empty() || file.error().message.size() > 1000) std::abort();
        return false;
    }
    volatile uint64_t sink = touch(**file, exact);
    (void)sink;
    return true;
}

// A small valid file with every metadata type and several storage types.
inline std::vector<uint8_t> small_gguf() {
    GgufWriter writer;
    bool ok = writer.set_string("general.architecture", "llama") && writer.set_u32("general.alignment", 32) &&
              writer.set_int("i8", GgufType::kI8, -1) && writer.set_int("u16", GgufType::kU16, 7) &&
              writer.set_int("i64", GgufType::kI64, -7) && writer.set_u64("u64", ~uint64_t(0)) &&
              writer.set_f32("f32", 0.5f) && writer.set_float("f64", GgufType::kF64, 0.25) &&
              writer.set_bool("bool", true) &&
              writer.set_strings("tokens", std::vector<std::string_view>{"a", "", "bc", "the"}) &&
              writer.set_ints("types", GgufType::kI32, std::vector<int64_t>{1, 2, 3, 4}) &&
              writer.set_floats("scores", GgufType::kF32, std::vector<double>{0, -1, -2, -3}) &&
              writer.set_ints("flags", GgufType::kBool, std::vector<int64_t>{1, 0, 1});
    std::vector<std::vector<uint8_t>> data;
    for (DType type : {DType::kF32, DType::kQ4_0, DType::kQ6_K, DType::kMXFP4, DType::kI16}) {
        const int64_t n_in = dtype_traits(type)->block_size == 256 ? 256 : 32;
        data.emplace_back(size_t(*dtype_bytes(type, uint64_t(n_in) * 2)), uint8_t(7 + data.size()));
        ok = ok && writer.add_tensor("blk.0." + std::string(dtype_traits(type)->name), type,
                                     std::vector<int64_t>{n_in, 2}, data.back());
    }
    auto bytes = writer.to_bytes();
    if (!ok || !bytes) std::abort();
    return *bytes;
}

}  // namespace sterna
