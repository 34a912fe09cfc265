// How fast a vocabulary turns text into tokens: bench_tokenizer FILE.gguf [TEXT]. Prints the median of five runs in
// MB/s for the text and for the texts that are hard on tokenizers, 1 MB each.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>

#include "format/gguf.h"
#include "text/tokenizer.h"

int main(int argc, char** argv) {
    using namespace sterna;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_tokenizer FILE.gguf [TEXT]\n");
        return 2;
    }
    auto file = GgufFile::open(argv[1]);
    if (!file) {
        fprintf(stderr, "%s\n", file.error().message.c_str());
        return 1;
    }
    // Processor time: other programs on the machine do not count.
    auto now = [] { return double(std::clock()) / CLOCKS_PER_SEC; };
    auto seconds = [now](double since) { return now() - since; };
    auto start = now();
    auto tokenizer = Tokenizer::from_metadata(**file);
    if (!tokenizer) {
        fprintf(stderr, "%s\n", tokenizer.error().message.c_str());
        return 1;
    }
    printf("load %.1f ms, %zu tokens\n", seconds(start) * 1e3, (*tokenizer)->vocab_size());

    constexpr size_t kBytes = 1 << 20;
    auto repeat = [](std::string_view unit) {
        std::string text;
        while (text.size() < kBytes) text += unit;
        return text;
    };
    uint64_t state = 1;
    std::string letters, bytes;
    for (size_t i = 0; i < kBytes; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        letters += char('a' + (state >> 40) % 26);
        bytes += char(state >> 56);
    }
    std::vector<std::pair<const char*, std::string>> texts = {
        {"one letter", repeat("a")},
        {"blanks", repeat(" ")},
        {"digits", repeat("7")},
        {"newlines", repeat("\n")},
        {"capitals", repeat("Q")},
        {"marks", repeat("\xCC\x81")},
        {"symbols", repeat("=")},
        {"blank, newline", repeat(" \n")},
        {"random letters, no blank", letters},
        {"random bytes", bytes},
        {"Chinese, no blank", repeat("\xE4\xB8\xAD\xE6\x96\x87\xE7\x9A\x84\xE5\x8F\xA5\xE5\xAD\x90")},
    };
    if (argc > 2) {
        std::ostringstream text;
        text << std::ifstream(argv[2], std::ios::binary).rdbuf();
        texts.insert(texts.begin(), {"the file", text.str()});
    }
    for (const auto& [name, text] : texts) {
        std::vector<double> times;
        size_t n_tokens = 0;
        for (int run = 0; run < 5; ++run) {
            start = now();
            auto ids = (*tokenizer)->encode(text);
            times.push_back(seconds(start));
            if (!ids) {
                fprintf(stderr, "%s\n", ids.error().message.c_str());
                return 1;
            }
            n_tokens = ids->size();
        }
        std::sort(times.begin(), times.end());
        printf("%-26s %7.1f MB/s %9zu tokens (%.3f s)\n", name, double(text.size()) / 1e6 / times[2], n_tokens,
               times[2]);
    }
}
