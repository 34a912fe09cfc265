// Expressions and steps from outside: no crash, no hang, pieces inside the text. The input: one step a line (a first line
// that begins with '!' is a step of the normalizer), an empty line, the text.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/split_program.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    std::vector<std::string_view> normalizer, split;
    size_t at = 0;
    while (at < input.size()) {
        size_t end = std::min(input.find('\n', at), input.size());
        std::string_view line = input.substr(at, end - at);
        at = std::min(end + 1, input.size());
        if (line.empty()) break;
        if (line.starts_with('!')) {
            normalizer.push_back(line.substr(1));
        } else {
            split.push_back(line);
        }
    }
    sterna::SplitProgramLimits limits;
    limits.max_text_bytes = 1 << 16;
    limits.max_steps = 8;
    auto program = sterna::SplitProgram::compile(normalizer, split, limits);
    if (!program) {
        if (program.error().message.empty()) abort();
        return 0;
    }
    std::string_view text = input.substr(at).substr(0, 4096);
    size_t n = 0;
    program->run(text, true, [&](std::string_view piece) {
        if (piece.empty()) abort();
        n += piece.size();
    });
    return 0;
}
