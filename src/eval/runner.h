// Lets a model answer test cases, many at a time, and judges the answers. The answers are greedy, so they depend neither on how
// many run together nor on threads. Thread-compatible.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "engine/engine.h"
#include "eval/cases.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace sterna::eval {

struct Answer {
    std::string text;
    std::string fault;  // what is wrong with it; empty when it is right
};

// The answers of one case, as many as it has turns.
struct Outcome {
    const Case* test = nullptr;
    std::vector<Answer> answers;
};

struct Tally {
    int64_t right = 0, n = 0;              // answers
    int64_t right_whole = 0, n_whole = 0;  // cases of several turns: all answers right

    void add(const Outcome& outcome);
};

struct RunnerOptions {
    int64_t together = 16;  // cases that are answered in one batch
    int64_t max_answer_tokens = 256;
    const std::atomic<bool>* cancel = nullptr;
};

struct RunnerStats {
    int64_t n_prompt = 0, n_generated = 0;  // tokens; of prompts only what was computed
};

// Calls `done` for every case as it is finished, in whatever order that is. A conversation that outgrows the context is a
// wrong answer, not an error. The template's "now" is 0. Errors: the engine's, the template's, cancelled.
Result<RunnerStats> answer_cases(Engine& engine, const Tokenizer& tokenizer, const ChatTemplate& chat,
                                 const std::vector<Case>& cases, const RunnerOptions& options,
                                 FunctionRef<void(const Outcome&)> done);

// The same with each case's own references for answers: whether the tests accept what they should. Errors: a case without.
Status judge_references(const std::vector<Case>& cases, FunctionRef<void(const Outcome&)> done);

}  // namespace sterna::eval
