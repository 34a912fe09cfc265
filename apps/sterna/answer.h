// One answer of a model: prompt tokens in, text out as it comes. `run` and the chat share it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "common.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "text/chat.h"

namespace sterna {

struct RunOptions {
    std::string model, prompt, prompt_file, system, tools, chat_template, draft, kv = "f16";
    bool has_prompt = false, raw = false, json = false, verbose = false, ignore_eos = false, context_shift = false,
         lookup = false, offline = false;
    int64_t n_predict = -1, context = 0, chunk = 512, keep = 0;
    int threads = default_threads(), logprobs = -1;
    std::vector<std::string> given_sampling;  // what a flag has set, by the names of apply_recommended_sampling()
    std::vector<std::string> lora, stop, dry_breakers = {"\n", ":", "\"", "*"}, logit_bias;
    SamplerParams sampler;
};

// A model ready to answer, with its engine, template and perhaps a draft model.
class Answerer {
public:
    static Result<std::unique_ptr<Answerer>> create(RunOptions options);

    struct Answer {
        std::string text;
        std::vector<GeneratedToken> tokens;
        FinishReason reason = FinishReason::kNone;
        bool stopped_by_text = false;
        GenerationStats stats;
        double prompt_seconds = 0, decode_seconds = 0;
    };

    // The tokens of a plain text, or of a conversation as the template spells it.
    Result<std::vector<TokenId>> encode_raw(std::string_view text) const;
    Result<std::vector<TokenId>> encode_chat(const std::vector<ChatMessage>& messages) const;

    // Makes `prompt` the session's content and goes on from there. `show` gets the text piece by piece, whole characters only.
    Result<Answer> answer(std::span<const TokenId> prompt, uint64_t seed, FunctionRef<void(std::string_view)> show);

    const RunOptions& options() const { return options_; }
    const OpenModel& open() const { return open_; }
    Engine& engine() { return *engine_; }
    Session& session() { return *session_; }
    void set_session(std::unique_ptr<Session> session) { session_ = std::move(session); }
    void reset() { session_ = engine_->open_session(); }

    // Ctrl-C sets it; answer() clears it at its start.
    std::atomic<bool> cancel{false};

private:
    Answerer() = default;
    Status read_tools();
    Status add_breakers();
    Status add_logit_bias();
    Result<std::unique_ptr<Drafter>> make_drafter();

    RunOptions options_;
    OpenModel open_, draft_;
    std::unique_ptr<Engine> engine_, draft_engine_;
    std::unique_ptr<Session> session_;
    std::unique_ptr<ChatTemplate> template_;
    OrderedJson tools_ = nullptr;
    std::vector<int32_t> stop_tokens_;
    std::vector<std::string> stop_texts_;
};

// --chat-template: a built-in family, a file, or, when empty, what the model brings.
Result<ChatTemplate> choose_template(const std::string& wanted, const OpenModel& open);

// Prints timings as users of llama.cpp know them to standard error.
void print_timings(const Answerer& answerer, const Answerer::Answer& answer);

// The interactive chat (docs/run.md).
Result<int> chat(Answerer& answerer);

}  // namespace sterna
