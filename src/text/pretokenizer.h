// Cuts text into the words inside which byte-level BPE merges, as each model family's regular expressions do, by
// hand-written scanners that look at every character a bounded number of times. Immutable; share freely.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/function_ref.h"

namespace sterna {

using SplitSink = FunctionRef<void(size_t begin, size_t end)>;
// Reports consecutive, non-empty pieces that cover the text.
using SplitStage = void (*)(std::string_view text, SplitSink sink);

struct Pretokenizer {
    std::string_view name;  // of tokenizer.ggml.pre
    SplitStage stages[6];   // each cuts the pieces of the one before; a null one ends the list
    bool ignore_merges;     // a word that is a token as it stands stays whole
    bool add_bos;           // where the file does not say
    bool normalize_nfc;     // the model's own tokenizer composes characters first
    bool raw_utf8;          // tokens are UTF-8 with U+2581 for blanks and <0xAB> for bytes, not byte-level text
    bool whole_newlines;    // with raw_utf8: a run of newlines that is a token stays whole

    // Nothing for a name that is not known.
    static const Pretokenizer* find(std::string_view name);
    static const Pretokenizer& fallback();  // for files that name none, or an unknown one

    void split(std::string_view text, SplitSink sink) const;
};

}  // namespace sterna
