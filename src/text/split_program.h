// How a tokenizer that is none of the known ones treats text before merging: the normalizing and cutting steps of a
// tokenizer.json, in the private keys that the converter writes beside tokenizer.ggml.pre. Immutable; share freely.
//
//   sterna.tokenizer.normalizer  texts, in order:
//     nfc | nfd | lowercase | strip_accents | strip_left | strip_right | prepend TEXT
//     replace_text N AB | replace_regex N AB      N: the bytes of A, which becomes B
//   sterna.tokenizer.split       texts, each cuts the pieces of the one before:
//     [not_]isolated R | removed R | contiguous R | merged_with_previous R | merged_with_next R
//                      what matches R is a piece of its own, goes, joins its like or a neighbour; not_: what does not
//     prefix TEXT | prefix_first TEXT     in front of every piece, or of the first one of the whole text, if it does not
//                      begin with TEXT
//     replace_text N AB     as above
//     byte_level            bytes as the characters of GPT-2's alphabet
//     none                  nothing (for lists that would be empty)
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/metadata.h"
#include "base/result.h"
#include "text/split_regex.h"

namespace sterna {

struct SplitProgramLimits {
    size_t max_steps = 64;
    size_t max_step_bytes = 1u << 14;
    size_t max_text_bytes = 1u << 30;  // what a text may grow to; the rest is left out
};

class SplitProgram {
public:
    static constexpr std::string_view kNormalizerKey = "sterna.tokenizer.normalizer";
    static constexpr std::string_view kSplitKey = "sterna.tokenizer.split";

    static Result<SplitProgram> read(const Metadata& metadata, const SplitProgramLimits& limits = {});
    static Result<SplitProgram> compile(const std::vector<std::string_view>& normalizer,
                                        const std::vector<std::string_view>& split,
                                        const SplitProgramLimits& limits = {});

    // `first`: the text begins where the user's does, not behind a special token.
    // Calls sink for the pieces in order; they need not cover the text. Lifetime: during the call.
    void run(std::string_view text, bool first, FunctionRef<void(std::string_view piece)> sink) const;

    std::string normalize(std::string_view text) const;

private:
    enum class Kind : uint8_t {
        kNfc,
        kNfd,
        kLowercase,
        kStripAccents,
        kStripLeft,
        kStripRight,
        kPrepend,
        kReplaceText,
        kReplaceRegex,
        kIsolated,
        kRemoved,
        kContiguous,
        kMergedWithPrevious,
        kMergedWithNext,
        kPrefix,
        kPrefixFirst,
        kByteLevel,
        kNone,
    };
    struct Step {
        Kind kind;
        bool inverted = false;
        std::string text = {}, replacement = {};
        SplitRegex regex = {};
    };
    using Sink = FunctionRef<void(std::string_view)>;

    static Result<Step> compile_step(std::string_view text, bool split, const SplitProgramLimits& limits);
    std::string apply(const Step& step, std::string_view text) const;
    void run_from(size_t step, std::string_view text, bool first, Sink sink) const;
    void cut(const Step& step, std::string_view text, FunctionRef<void(size_t, size_t)> sink) const;

    std::vector<Step> normalizer_, split_;
    SplitProgramLimits limits_;
};

}  // namespace sterna
