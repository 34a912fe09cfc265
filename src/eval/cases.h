// Test cases for a chat model: conversations whose answers are checked, one JSON object per line (docs/eval.md). Plain data.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "eval/check.h"
#include "text/chat.h"

namespace sterna::eval {

struct CaseLimits {
    size_t max_file_bytes = size_t(1) << 28;
    size_t max_cases = 1'000'000;
    size_t max_turns = 1000;  // of one case
};

// One answer: the messages that come before it since the last answer, and what it must fulfil.
struct Turn {
    std::vector<ChatMessage> messages;
    Check check;
    std::string reference;  // a right answer, where the file has one
    bool has_reference = false;
};

struct Case {
    std::string id, measure;
    OrderedJson tools = nullptr;
    std::vector<Turn> turns;  // the model's own answers stay in the conversation
};

// Errors name file and line: "cases.jsonl:12: check.number: expected a whole number".
Result<std::vector<Case>> parse_cases(std::string_view text, const std::string& path, const CaseLimits& limits = {});

}  // namespace sterna::eval
