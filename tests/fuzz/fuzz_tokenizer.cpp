// Random vocabularies and random text: no crash, ids in range, valid UTF-8 out of the stream.
//
// The input's first byte chooses the kind, the second the pre-tokenizer and flags; then tokens (type, score, length,
// bytes) up to a zero length, merges likewise, and the rest is the text.
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace sterna;

class FuzzMetadata : public Metadata {
public:
    std::map<std::string, std::string, std::less<>> texts;
    std::map<std::string, int64_t, std::less<>> numbers;
    std::vector<std::string> tokens, merges;
    std::vector<int64_t> types, charsmap;
    std::vector<double> scores;

    bool has(std::string_view key) const override {
        return texts.contains(key) || numbers.contains(key) || key == "tokenizer.ggml.tokens" ||
               key == "tokenizer.ggml.token_type" || key == "tokenizer.ggml.scores" || key == "tokenizer.ggml.merges" ||
               (key == "tokenizer.ggml.precompiled_charsmap" && !charsmap.empty());
    }
    std::optional<int64_t> get_int(std::string_view key) const override {
        auto at = numbers.find(key);
        return at == numbers.end() ? std::nullopt : std::optional(at->second);
    }
    std::optional<double> get_float(std::string_view) const override { return std::nullopt; }
    std::optional<bool> get_bool(std::string_view key) const override {
        auto at = numbers.find(key);
        return at == numbers.end() ? std::nullopt : std::optional(at->second != 0);
    }
    std::optional<std::string_view> get_string(std::string_view key) const override {
        auto at = texts.find(key);
        return at == texts.end() ? std::nullopt : std::optional<std::string_view>(at->second);
    }
    std::optional<std::vector<int64_t>> get_ints(std::string_view key) const override {
        return key == "tokenizer.ggml.token_type" ? types : charsmap;
    }
    std::optional<std::vector<double>> get_floats(std::string_view) const override { return scores; }
    std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const override {
        const auto& list = key == "tokenizer.ggml.tokens" ? tokens : merges;
        return std::vector<std::string_view>(list.begin(), list.end());
    }
};

constexpr const char* kKinds[] = {"llama", "gpt2", "t5", "bert", "rwkv", "gemma4"};
constexpr const char* kPres[] = {"default",    "gpt-2",       "llama-bpe",      "qwen2",
                                 "qwen35",     "tekken",      "gpt-4o",         "kimi-k2",
                                 "falcon",     "starcoder",   "bloom",          "deepseek-llm",
                                 "viking",     "deepseek-v3", "afmoe",          "youtu",
                                 "tiny_aya",   "superbpe",    "deepseek-coder", "jais-2",
                                 "exaone-moe", "chameleon",   "laguna",         "minicpm5",
                                 "spark2_5",   "seed-coder",  "gemma4",         "whitespace",
                                 "sarvam-moe", "ufakzeka",    "no such one",    "granite-embed-multi-311m"};

void require(bool held) {
    if (!held) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    ByteReader reader(Bytes(data, size));
    auto next = [&] { return int(reader.read<uint8_t>().value_or(0)); };
    FuzzMetadata metadata;
    metadata.texts["tokenizer.ggml.model"] = kKinds[next() % 6];
    int flags = next();
    metadata.texts["tokenizer.ggml.pre"] = kPres[flags % 32];
    metadata.numbers["tokenizer.ggml.add_space_prefix"] = flags >> 5 & 1;
    metadata.numbers["tokenizer.ggml.remove_extra_whitespaces"] = flags >> 6 & 1;
    if (flags >> 7) metadata.texts["general.name"] = "phi-3";
    metadata.numbers["tokenizer.ggml.unknown_token_id"] = next() - 1;
    auto read_text = [&]() -> std::string {
        int n = next();
        auto text = reader.read_text(size_t(n));
        return std::string(text.value_or(std::string_view()));
    };
    for (int type; (type = next()) != 0 && metadata.tokens.size() < 1000;) {
        metadata.types.push_back(type % 8);
        metadata.scores.push_back(-double(type >> 3));
        metadata.tokens.push_back(read_text());
    }
    for (std::string merge; !(merge = read_text()).empty();) metadata.merges.push_back(merge);
    for (char c : read_text()) metadata.charsmap.push_back(uint8_t(c));

    auto tokenizer = Tokenizer::from_metadata(metadata);
    if (!tokenizer) return 0;
    std::string_view text = *reader.read_text(reader.remaining());
    for (int options = 0; options < 4; ++options) {
        auto ids = (*tokenizer)->encode(text, {.add_special = (options & 1) != 0, .parse_special = (options & 2) != 0});
        require(ids.has_value());
        StreamingDetokenizer stream(**tokenizer, options & 1, options & 2);
        std::string all;
        for (TokenId id : *ids) {
            require(id >= 0 && size_t(id) < (*tokenizer)->vocab_size());
            (*tokenizer)->is_end_of_generation(id);
            all += stream.push(id);
        }
        all += stream.finish();
        for (size_t at = 0; at < all.size(); at += decode_utf8(all, at).length)
            require(decode_utf8(all, at).code_point != kInvalidCodePoint);
        (*tokenizer)->decode(*ids, options & 2);
    }
    const Pretokenizer* rules = Pretokenizer::find(kPres[flags % 32]);
    size_t at = 0;
    (rules ? *rules : Pretokenizer::fallback()).split(text, [&at](size_t begin, size_t end) {
        require(begin == at && end > begin);
        at = end;
    });
    require(at == text.size());
    return 0;
}
