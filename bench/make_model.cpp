// Writes a GGUF file with random weights in a real model's shape: speed and memory do not depend on the values.
//
//     make_model SHAPE MIX OUT.gguf [SEED]
//
// A mix chooses each tensor's type as llama.cpp's quantizer does, so that both engines read what their users have. Weights
// are drawn once per type and width, encoded, and repeated in random order: a 3B file takes as long as writing it to disk.
// The vocabulary is invented: of the right size and kind, and accepted by both engines.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "tensor/dtype.h"

namespace {

using namespace sterna;

struct Shape {
    const char* name;
    const char* architecture;
    int64_t n_layers, width, ffn_width, n_heads, n_kv_heads, head_dim, vocab_size, context;
    float theta, eps;
    bool tied;  // no output matrix of its own
    bool qkv_bias;
    bool rope_freqs;  // a table of divisors, as Llama 3 has
    bool sentencepiece;
};

const Shape kShapes[] = {
    {"tiny", "llama", 2, 256, 768, 4, 2, 64, 1024, 2048, 1e4f, 1e-5f, false, false, false, true},
    {"tiny-qwen2", "qwen2", 2, 256, 768, 4, 2, 64, 1024, 2048, 1e6f, 1e-6f, true, true, false, false},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 32768, 1e6f, 1e-6f, true, true, false, false},
    {"tinyllama-1.1b", "llama", 22, 2048, 5632, 32, 4, 64, 32000, 2048, 1e4f, 1e-5f, false, false, false, true},
    {"llama-3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5f, 1e-5f, true, false, true, false},
    {"llama-3.2-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, 131072, 5e5f, 1e-5f, true, false, true, false},
    {"llama-3.1-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5f, 1e-5f, false, false, true, false},
};

// ---- Which type a tensor gets. Rules of llama.cpp's quantizer without an importance matrix, for dense models. ----------------

enum class Role { kEmbedding, kOutput, kQ, kK, kV, kAttentionOutput, kGate, kUp, kDown };

// The layers that the "medium" mixes spend more bits on: the first and the last eighth, and every third between them.
bool more_bits(int64_t layer, int64_t n) {
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

struct Mix {
    const char* name;
    DType base;
    uint32_t file_type;  // general.file_type
    DType (*choose)(const Shape& shape, Role role, int64_t layer, DType base);
};

DType pure(const Shape&, Role role, int64_t, DType base) {
    return role == Role::kOutput ? DType::kQ6_K : base;
}
DType all_alike(const Shape&, Role, int64_t, DType base) {
    return base;
}

DType medium(const Shape& shape, Role role, int64_t layer, DType base) {
    if ((role == Role::kV || role == Role::kDown) && more_bits(layer, shape.n_layers)) return DType::kQ6_K;
    return pure(shape, role, layer, base);
}

DType q2_k(const Shape& shape, Role role, int64_t layer, DType base) {
    if (role == Role::kV) return shape.n_heads / shape.n_kv_heads >= 4 ? DType::kQ4_K : DType::kQ3_K;
    if (role == Role::kDown || role == Role::kAttentionOutput) return DType::kQ3_K;
    return pure(shape, role, layer, base);
}

DType q3_k_m(const Shape& shape, Role role, int64_t layer, DType base) {
    if (role == Role::kV) return layer < 2 ? DType::kQ5_K : DType::kQ4_K;
    if (role == Role::kAttentionOutput) return DType::kQ4_K;
    if (role == Role::kDown && layer < shape.n_layers / 16) return DType::kQ5_K;
    if (role == Role::kDown && more_bits(layer, shape.n_layers)) return DType::kQ4_K;
    return pure(shape, role, layer, base);
}

DType iq4(const Shape& shape, Role role, int64_t layer, DType base) {
    if (role == Role::kV && shape.n_heads / shape.n_kv_heads >= 4) return DType::kQ5_K;
    if (role == Role::kDown && layer < shape.n_layers / 8) return DType::kQ5_K;
    return pure(shape, role, layer, base);
}

DType ternary(const Shape& shape, Role role, int64_t layer, DType base) {
    return role == Role::kEmbedding ? DType::kQ4_K : pure(shape, role, layer, base);
}

const Mix kMixes[] = {
    {"F32", DType::kF32, 0, all_alike},    {"F16", DType::kF16, 1, all_alike},    {"BF16", DType::kBF16, 32, all_alike},
    {"Q8_0", DType::kQ8_0, 7, all_alike},  {"Q4_0", DType::kQ4_0, 2, pure},       {"Q4_1", DType::kQ4_1, 3, pure},
    {"Q5_0", DType::kQ5_0, 8, pure},       {"Q5_1", DType::kQ5_1, 9, pure},       {"Q2_K", DType::kQ2_K, 10, q2_k},
    {"Q3_K_S", DType::kQ3_K, 11, pure},    {"Q3_K_M", DType::kQ3_K, 12, q3_k_m},  {"Q4_K_S", DType::kQ4_K, 14, pure},
    {"Q4_K_M", DType::kQ4_K, 15, medium},  {"Q5_K_S", DType::kQ5_K, 16, pure},    {"Q5_K_M", DType::kQ5_K, 17, medium},
    {"Q6_K", DType::kQ6_K, 18, all_alike}, {"IQ4_NL", DType::kIQ4_NL, 25, iq4},   {"IQ4_XS", DType::kIQ4_XS, 30, iq4},
    {"MXFP4", DType::kMXFP4, 38, pure},    {"TQ1_0", DType::kTQ1_0, 36, ternary}, {"TQ2_0", DType::kTQ2_0, 37, ternary},
};

// What the quantizer takes where a width is no multiple of 256.
DType fitting(DType type, int64_t n_cols) {
    if (n_cols % dtype_traits(type)->block_size == 0) return type;
    switch (type) {
        case DType::kQ4_K:
            return DType::kQ5_0;
        case DType::kQ5_K:
            return DType::kQ5_1;
        case DType::kQ6_K:
            return DType::kQ8_0;
        case DType::kTQ1_0:
        case DType::kTQ2_0:
            return DType::kQ4_0;
        default:
            return DType::kIQ4_NL;
    }
}

// ---- Weights ------------------------------------------------------------------------------------------------------------

class Weights {
public:
    explicit Weights(uint64_t seed) : random_(seed) {}

    // A producer of n_cols * n_rows elements with standard deviation 1 / sqrt(n_cols), which keeps activations near 1.
    // A small matrix has rows of its own; the rows of a large one come from a pool, which takes seconds instead of minutes.
    GgufWriter::Producer matrix(DType type, int64_t n_cols, int64_t n_rows) {
        if (n_cols * n_rows <= kFreshElements)
            return [bytes = encode_normal(type, n_cols, n_rows)](GgufWriter::Sink sink) { return sink(bytes); };
        const std::vector<uint8_t>& pool = pool_of(type, n_cols);
        uint64_t row_bytes = *dtype_bytes(type, uint64_t(n_cols));
        return [&pool, row_bytes, n_rows, seed = random_()](GgufWriter::Sink sink) -> Status {
            std::mt19937_64 random(seed);
            uint64_t n_pool_rows = pool.size() / row_bytes;
            for (int64_t row = 0; row < n_rows; ++row)
                STERNA_CHECK(sink(Bytes(pool.data() + random() % n_pool_rows * row_bytes, row_bytes)));
            return {};
        };
    }

    static GgufWriter::Producer vector(std::vector<float> values) {
        return [values = std::move(values)](GgufWriter::Sink sink) {
            return sink(Bytes(reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)));
        };
    }

    std::vector<float> normal(int64_t n, float mean, float deviation) {
        std::normal_distribution<float> draw(mean, deviation);
        std::vector<float> values(static_cast<size_t>(n));
        for (float& value : values) value = draw(random_);
        return values;
    }

private:
    static constexpr int64_t kFreshElements = 1 << 19, kPoolRows = 32;

    std::vector<uint8_t> encode_normal(DType type, int64_t n_cols, int64_t n_rows) {
        std::vector<float> values = normal(n_rows * n_cols, 0.0f, 1.0f / std::sqrt(float(n_cols)));
        std::vector<uint8_t> bytes(*dtype_bytes(type, values.size()));
        dtype_traits(type)->encode(values.data(), bytes.data(), int64_t(values.size()), nullptr);
        return bytes;
    }

    const std::vector<uint8_t>& pool_of(DType type, int64_t n_cols) {
        auto [at, is_new] = pools_.try_emplace({type, n_cols});
        if (is_new) at->second = encode_normal(type, n_cols, kPoolRows);
        return at->second;
    }

    std::mt19937_64 random_;
    std::map<std::pair<DType, int64_t>, std::vector<uint8_t>> pools_;  // a map: producers refer to its values
};

// ---- Vocabulary ------------------------------------------------------------------------------------------------------------

struct Vocabulary {
    std::vector<std::string> tokens, merges;
    std::vector<double> scores;
    std::vector<int64_t> types;
    int64_t bos = 0, eos = 0;

    void add(std::string token, int64_t type, double score = 0.0) {
        tokens.push_back(std::move(token));
        types.push_back(type);
        scores.push_back(score);
    }
};

constexpr int64_t kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6;

std::string utf8(uint32_t code) {  // below 0x10000
    if (code < 0x80) return std::string(1, char(code));
    if (code < 0x800) return {char(0xc0 | (code >> 6)), char(0x80 | (code & 63))};
    return {char(0xe0 | (code >> 12)), char(0x80 | ((code >> 6) & 63)), char(0x80 | (code & 63))};
}

// Calls add(left, letter) for pairs that grow every word of the letters, shortest first, until it returns false.
void grow(const std::string& blank, const std::function<bool(const std::string&, char)>& add) {
    std::vector<std::string> words{blank};
    for (char c = 'a'; c <= 'z'; ++c) words.emplace_back(1, c);
    for (size_t at = 0;; ++at)
        for (char c = 'a'; c <= 'z'; ++c) {
            std::string word = words[at];
            if (!add(word, c)) return;
            words.push_back(word + c);
        }
}

// Byte-level BPE in the manner of GPT-2: 256 characters for the bytes, then merges.
Vocabulary byte_level(int64_t size) {
    Vocabulary vocabulary;
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        vocabulary.add(utf8(printable ? byte : next++), kNormal);
    }
    grow(utf8(0x120), [&](const std::string& left, char letter) {
        if (int64_t(vocabulary.tokens.size()) + 2 >= size) return false;
        vocabulary.add(left + letter, kNormal);
        vocabulary.merges.push_back(left + ' ' + letter);
        return true;
    });
    vocabulary.bos = size - 2;
    vocabulary.eos = size - 1;
    vocabulary.add("<|begin_of_text|>", kControl);
    vocabulary.add("<|end_of_text|>", kControl);
    return vocabulary;
}

// SentencePiece BPE in the manner of Llama 2: pieces with scores, earlier pieces merge first.
Vocabulary sentencepiece(int64_t size) {
    Vocabulary vocabulary;
    vocabulary.bos = 1;
    vocabulary.eos = 2;
    vocabulary.add("<unk>", kUnknown);
    vocabulary.add("<s>", kControl);
    vocabulary.add("</s>", kControl);
    for (int byte = 0; byte < 256; ++byte) vocabulary.add(fmt::format("<0x{:02X}>", byte), kByte);
    const std::string blank = utf8(0x2581);
    auto piece = [&](const std::string& text) {
        vocabulary.add(text, kNormal, -double(vocabulary.tokens.size() - 259));
    };
    grow(blank, [&](const std::string& left, char letter) {
        if (int64_t(vocabulary.tokens.size()) + 27 >= size) return false;
        piece(left + letter);
        return true;
    });
    piece(blank);
    for (char c = 'a'; c <= 'z'; ++c) piece(std::string(1, c));
    return vocabulary;
}

Status put_vocabulary(GgufWriter& file, const Shape& shape) {
    Vocabulary vocabulary = shape.sentencepiece ? sentencepiece(shape.vocab_size) : byte_level(shape.vocab_size);
    auto views = [](const std::vector<std::string>& from) {
        return std::vector<std::string_view>(from.begin(), from.end());
    };
    STERNA_CHECK(file.set_string("tokenizer.ggml.model", shape.sentencepiece ? "llama" : "gpt2"));
    STERNA_CHECK(file.set_string("tokenizer.ggml.pre", shape.sentencepiece ? "default"
                                                       : shape.qkv_bias    ? "qwen2"
                                                                           : "llama-bpe"));
    STERNA_CHECK(file.set_strings("tokenizer.ggml.tokens", views(vocabulary.tokens)));
    STERNA_CHECK(file.set_ints("tokenizer.ggml.token_type", GgufType::kI32, vocabulary.types));
    if (shape.sentencepiece) {
        STERNA_CHECK(file.set_floats("tokenizer.ggml.scores", GgufType::kF32, vocabulary.scores));
        STERNA_CHECK(file.set_u32("tokenizer.ggml.unknown_token_id", 0));
    } else {
        STERNA_CHECK(file.set_strings("tokenizer.ggml.merges", views(vocabulary.merges)));
    }
    STERNA_CHECK(file.set_u32("tokenizer.ggml.bos_token_id", uint32_t(vocabulary.bos)));
    STERNA_CHECK(file.set_u32("tokenizer.ggml.eos_token_id", uint32_t(vocabulary.eos)));
    return file.set_bool("tokenizer.ggml.add_bos_token", !shape.qkv_bias);
}

// ---- The file ----------------------------------------------------------------------------------------------------------------

Status put_config(GgufWriter& file, const Shape& shape, const Mix& mix) {
    auto key = [&](const char* name) { return fmt::format("{}.{}", shape.architecture, name); };
    STERNA_CHECK(file.set_string("general.architecture", shape.architecture));
    STERNA_CHECK(file.set_string("general.name", fmt::format("{} {} with random weights", shape.name, mix.name)));
    STERNA_CHECK(file.set_u32("general.file_type", mix.file_type));
    STERNA_CHECK(file.set_u32("general.quantization_version", 2));
    const std::pair<const char*, int64_t> counts[] = {
        {"block_count", shape.n_layers},          {"context_length", shape.context},
        {"embedding_length", shape.width},        {"feed_forward_length", shape.ffn_width},
        {"attention.head_count", shape.n_heads},  {"attention.head_count_kv", shape.n_kv_heads},
        {"rope.dimension_count", shape.head_dim}, {"vocab_size", shape.vocab_size},
    };
    for (auto [name, count] : counts) STERNA_CHECK(file.set_u32(key(name), uint32_t(count)));
    STERNA_CHECK(file.set_f32(key("rope.freq_base"), shape.theta));
    return file.set_f32(key("attention.layer_norm_rms_epsilon"), shape.eps);
}

Status put_tensors(GgufWriter& file, const Shape& shape, const Mix& mix, Weights& weights) {
    auto matrix = [&](std::string name, Role role, int64_t layer, int64_t n_cols, int64_t n_rows) {
        DType type = fitting(mix.choose(shape, role, layer, mix.base), n_cols);
        return file.add_tensor(std::move(name), type, std::vector<int64_t>{n_cols, n_rows},
                               weights.matrix(type, n_cols, n_rows));
    };
    auto vector = [&](std::string name, std::vector<float> values) {
        std::vector<int64_t> size{int64_t(values.size())};
        return file.add_tensor(std::move(name), DType::kF32, size, Weights::vector(std::move(values)));
    };
    int64_t q_width = shape.n_heads * shape.head_dim, kv_width = shape.n_kv_heads * shape.head_dim;
    // A tied embedding is the output matrix too and gets that one's type.
    Role embedding = shape.tied ? Role::kOutput : Role::kEmbedding;
    STERNA_CHECK(matrix("token_embd.weight", embedding, 0, shape.width, shape.vocab_size));
    STERNA_CHECK(vector("output_norm.weight", weights.normal(shape.width, 1.0f, 0.1f)));
    if (!shape.tied) STERNA_CHECK(matrix("output.weight", Role::kOutput, 0, shape.width, shape.vocab_size));
    if (shape.rope_freqs) {
        std::vector<float> divisors;
        for (int64_t i = 0; i < shape.head_dim / 2; ++i) divisors.push_back(i < shape.head_dim / 4 ? 1.0f : 32.0f);
        STERNA_CHECK(vector("rope_freqs.weight", divisors));
    }
    for (int64_t layer = 0; layer < shape.n_layers; ++layer) {
        auto name = [&](const char* part) { return fmt::format("blk.{}.{}", layer, part); };
        STERNA_CHECK(vector(name("attn_norm.weight"), weights.normal(shape.width, 1.0f, 0.1f)));
        STERNA_CHECK(matrix(name("attn_q.weight"), Role::kQ, layer, shape.width, q_width));
        STERNA_CHECK(matrix(name("attn_k.weight"), Role::kK, layer, shape.width, kv_width));
        STERNA_CHECK(matrix(name("attn_v.weight"), Role::kV, layer, shape.width, kv_width));
        if (shape.qkv_bias) {
            STERNA_CHECK(vector(name("attn_q.bias"), weights.normal(q_width, 0.0f, 0.1f)));
            STERNA_CHECK(vector(name("attn_k.bias"), weights.normal(kv_width, 0.0f, 0.1f)));
            STERNA_CHECK(vector(name("attn_v.bias"), weights.normal(kv_width, 0.0f, 0.1f)));
        }
        STERNA_CHECK(matrix(name("attn_output.weight"), Role::kAttentionOutput, layer, q_width, shape.width));
        STERNA_CHECK(vector(name("ffn_norm.weight"), weights.normal(shape.width, 1.0f, 0.1f)));
        STERNA_CHECK(matrix(name("ffn_gate.weight"), Role::kGate, layer, shape.width, shape.ffn_width));
        STERNA_CHECK(matrix(name("ffn_up.weight"), Role::kUp, layer, shape.width, shape.ffn_width));
        STERNA_CHECK(matrix(name("ffn_down.weight"), Role::kDown, layer, shape.ffn_width, shape.width));
    }
    return {};
}

Result<std::vector<std::string>> make(const Shape& shape, const Mix& mix, const std::string& path, uint64_t seed) {
    GgufWriter file;
    Weights weights(seed);
    STERNA_CHECK(put_config(file, shape, mix));
    STERNA_CHECK(put_vocabulary(file, shape));
    STERNA_CHECK(put_tensors(file, shape, mix, weights));
    return file.write(path);
}

int usage() {
    std::fputs("make_model SHAPE MIX OUT.gguf [SEED]\nshapes:", stderr);
    for (const Shape& shape : kShapes) std::fprintf(stderr, " %s", shape.name);
    std::fputs("\nmixes:", stderr);
    for (const Mix& mix : kMixes) std::fprintf(stderr, " %s", mix.name);
    std::fputs("\n", stderr);
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4 || argc > 5) return usage();
    auto shape = std::find_if(std::begin(kShapes), std::end(kShapes),
                              [&](const Shape& s) { return std::string_view(s.name) == argv[1]; });
    auto mix = std::find_if(std::begin(kMixes), std::end(kMixes),
                            [&](const Mix& m) { return std::string_view(m.name) == argv[2]; });
    if (shape == std::end(kShapes) || mix == std::end(kMixes)) return usage();
    auto written = make(*shape, *mix, argv[3], argc == 5 ? std::strtoull(argv[4], nullptr, 10) : 1);
    if (!written) {
        std::fprintf(stderr, "make_model: %s\n", written.error().message.c_str());
        return 1;
    }
    return 0;
}
