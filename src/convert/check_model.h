// Whether a GGUF file is what it says: shapes against its configuration, values, vocabulary, template. For files that open;
// what breaks the format itself is the reader's error. Functions without state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "format/gguf.h"

namespace sterna {

struct ModelCheck {
    enum class Verdict { kGood, kNote, kBad };  // kNote: nothing wrong, but worth knowing
    std::string_view about;                     // "tensors"
    Verdict verdict = Verdict::kGood;
    std::string text;  // one line
};

// Reads every value of the file.
std::vector<ModelCheck> check_model(const GgufFile& file, ThreadPool& pool);

}  // namespace sterna
