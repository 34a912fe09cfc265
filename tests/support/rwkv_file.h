// The RWKV-7 model of the shared test data, in the format of rwkv.cpp (models/README.md there). Its matrices are those of GGUF.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace sterna {

struct RwkvFile {
    struct Tensor {
        std::vector<int64_t> shape;  // fastest first
        uint32_t type;               // 0: float32, 1: float16
        std::vector<uint8_t> data;
    };
    uint32_t width = 0, n_layers = 0;
    std::map<std::string, Tensor> tensors;  // "blocks.0.att.w1"
};

// u32 magic, version, n_vocab, n_embed, n_layer, type; per tensor u32 rank, key length, type, dimensions fastest first, key,
// data.
inline RwkvFile parse_rwkv_file(const std::vector<uint8_t>& file) {
    auto u32 = [&](size_t at) {
        uint32_t value = 0;
        std::memcpy(&value, file.data() + at, sizeof(value));
        return value;
    };
    RwkvFile result{u32(12), u32(16), {}};
    for (size_t at = 24; at + 12 <= file.size();) {
        const uint32_t rank = u32(at), key_length = u32(at + 4);
        RwkvFile::Tensor tensor{{}, u32(at + 8), {}};
        at += 12;
        size_t n_bytes = tensor.type == 0 ? 4 : 2;
        for (uint32_t i = 0; i < rank; ++i, at += 4) {
            tensor.shape.push_back(u32(at));
            n_bytes *= u32(at);
        }
        const std::string key(reinterpret_cast<const char*>(file.data()) + at, key_length);
        at += key_length;
        tensor.data.assign(file.begin() + int64_t(at), file.begin() + int64_t(at + n_bytes));
        at += n_bytes;
        result.tensors[key] = std::move(tensor);
    }
    return result;
}

inline std::string rwkv_gguf_name(std::string key) {
    static const std::map<std::string, std::string> parts = {{"ln1", "attn_norm"},
                                                             {"ln2", "attn_norm_2"},
                                                             {"att.x_rwkvag", "time_mix_lerp_fused"},
                                                             {"att.receptance", "time_mix_receptance"},
                                                             {"att.key", "time_mix_key"},
                                                             {"att.value", "time_mix_value"},
                                                             {"att.output", "time_mix_output"},
                                                             {"att.ln_x", "time_mix_ln"},
                                                             {"ffn.x_k", "channel_mix_lerp_k"},
                                                             {"ffn.key", "channel_mix_key"},
                                                             {"ffn.value", "channel_mix_value"}};
    std::string kind = ".weight";
    for (const char* end : {".weight", ".bias"})
        if (key.ends_with(end)) kind = end, key.resize(key.size() - std::strlen(end));
    if (key == "emb") return "token_embd" + kind;
    if (key == "ln_out") return "output_norm" + kind;
    if (key == "head") return "output" + kind;
    if (key.ends_with(".ln0")) return "token_embd_norm" + kind;
    const size_t dot = key.find('.', 7);  // "blocks.N."
    const std::string layer = key.substr(7, dot - 7), part = key.substr(dot + 1);
    const auto known = parts.find(part);
    return "blk." + layer + "." + (known != parts.end() ? known->second : "time_mix_" + part.substr(4)) + kind;
}

}  // namespace sterna
