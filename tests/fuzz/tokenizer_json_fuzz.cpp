// A tokenizer file from outside (tokenizer.json, SentencePiece, tiktoken or RWKV, told apart by its first byte): it becomes
// metadata that a tokenizer takes, or an error.
#include <cstdlib>
#include <string>
#include <vector>

#include "convert/tokenizer_data.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    std::string text(reinterpret_cast<const char*>(data), size);
    TokenizerData tokenizer;
    try {
        Status read;
        if (text.starts_with('{')) {
            read = read_tokenizer_json(text, "input", tokenizer);
        } else if (is_tiktoken(text)) {
            read = read_tiktoken(text, "input", "", tokenizer);
        } else if (text.starts_with('\n')) {
            read = read_sentencepiece_tokenizer(text, "input", tokenizer);
        } else {
            read = read_rwkv_vocabulary(text, "input", tokenizer);
        }
        if (!read) {
            if (read.error().message.empty()) abort();
            return 0;
        }
    } catch (const std::exception&) {
        return 0;  // write_tokenizer() turns these into errors
    }
    // A high id makes a long list; what follows is the same for a short one.
    if (tokenizer.size() > 4096 || tokenizer.size() == 0) return 0;
    GgufWriter writer;
    std::vector<std::string> warnings;
    if (!write_tokenizer_data(tokenizer, 0, writer, warnings)) return 0;
    auto bytes = writer.to_bytes();
    if (!bytes) return 0;
    auto file = GgufFile::from_bytes(*bytes, "input");
    if (!file) abort();
    auto loaded = Tokenizer::from_metadata(**file);
    if (loaded && !(*loaded)->encode("The 12 birds\n \xC3\xA9!", {.parse_special = true})) abort();
    return 0;
}
