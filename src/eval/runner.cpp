#include "eval/runner.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/generation.h"

namespace sterna::eval {

namespace {

// A case that is being answered.
struct Running {
    Outcome outcome;
    std::vector<ChatMessage> conversation;
    std::unique_ptr<Session> session;
    std::unique_ptr<Generation> generation;
    std::vector<TokenId> answer;

    bool is_over() const { return outcome.answers.size() == outcome.test->turns.size(); }
    const Turn& turn() const { return outcome.test->turns[outcome.answers.size()]; }
};

class Runner {
public:
    Runner(Engine& engine, const Tokenizer& tokenizer, const ChatTemplate& chat, const RunnerOptions& options)
        : engine_(engine), tokenizer_(tokenizer), chat_(chat), options_(options), scheduler_(engine) {
        for (size_t id = 0; id < tokenizer.vocab_size(); ++id)
            if (tokenizer.is_end_of_generation(TokenId(id))) stop_tokens_.push_back(int32_t(id));
    }

    Result<RunnerStats> run(const std::vector<Case>& cases, FunctionRef<void(const Outcome&)> done) {
        size_t next = 0;
        std::vector<std::unique_ptr<Running>> running;
        std::vector<Generation*> generations;
        while (next < cases.size() || !running.empty()) {
            while (next < cases.size() && int64_t(running.size()) < options_.together) {
                auto one = std::make_unique<Running>();
                one->outcome.test = &cases[next++];
                one->session = engine_.open_session();
                STERNA_CHECK(begin_turn(*one));
                running.push_back(std::move(one));
            }
            generations.clear();
            for (auto& one : running)
                if (one->generation) generations.push_back(one->generation.get());
            if (!generations.empty()) STERNA_CHECK(scheduler_.step(generations, options_.cancel));
            for (auto& one : running) STERNA_CHECK(collect(*one));
            std::erase_if(running, [&](const std::unique_ptr<Running>& one) {
                if (one->is_over()) done(one->outcome);
                return one->is_over();
            });
        }
        return stats_;
    }

private:
    // Puts the turn's messages into the conversation and starts the answer; a conversation that is too long answers itself.
    Status begin_turn(Running& one) {
        const Turn& turn = one.turn();
        one.conversation.insert(one.conversation.end(), turn.messages.begin(), turn.messages.end());
        ChatRenderOptions render;
        render.tools = one.outcome.test->tools;
        auto text = chat_.render(one.conversation, render);
        if (!text) return fail(text.error().code, "{}: {}", one.outcome.test->id, text.error().message);
        EncodeOptions encode;
        encode.add_special = false;
        encode.parse_special = true;
        STERNA_TRY(ids, tokenizer_.encode(*text, encode));
        const auto bos = tokenizer_.special().bos;
        if (tokenizer_.adds_bos() && bos && (ids.empty() || ids[0] != *bos)) ids.insert(ids.begin(), *bos);
        one.answer.clear();
        if (auto status = one.session->set_tokens(ids); !status) {
            if (status.error().code != ErrorCode::kLimit) return status;
            end_turn(one, "the conversation is too long");
            return {};
        }
        GenerationOptions options;
        options.sampler.temperature = 0;
        options.max_new_tokens = options_.max_answer_tokens;
        options.stop_tokens = stop_tokens_;
        STERNA_TRY(generation, Generation::create(engine_, *one.session, std::move(options)));
        one.generation = std::move(generation);
        return {};
    }

    // Takes what is ready; at the end of an answer goes on with the next turn.
    Status collect(Running& one) {
        if (one.generation) {
            while (auto token = one.generation->take())
                if (!token->is_stop) one.answer.push_back(token->token);
            if (!one.generation->finished()) return {};
            const FinishReason reason = one.generation->reason();
            if (reason == FinishReason::kError || reason == FinishReason::kCancelled) return one.generation->status();
            stats_.n_generated += one.generation->stats().n_generated;
            stats_.n_prompt += one.generation->stats().n_prompt - one.generation->stats().n_reused;
            one.generation.reset();
            end_turn(one, reason == FinishReason::kStopToken ? "" : "the answer does not end");
        }
        while (!one.generation && !one.is_over()) STERNA_CHECK(begin_turn(one));
        return {};
    }

    // fault: what is wrong whatever the answer says; empty: nothing.
    void end_turn(Running& one, const std::string& fault) {
        Answer answer;
        answer.text = tokenizer_.decode(one.answer);
        answer.fault = !fault.empty() ? fault : find_fault(one.turn().check, answer.text).value_or("");
        one.conversation.push_back({"assistant", answer.text, OrderedJson::object()});
        one.outcome.answers.push_back(std::move(answer));
    }

    Engine& engine_;
    const Tokenizer& tokenizer_;
    const ChatTemplate& chat_;
    const RunnerOptions& options_;
    Scheduler scheduler_;
    std::vector<int32_t> stop_tokens_;
    RunnerStats stats_;
};

}  // namespace

void Tally::add(const Outcome& outcome) {
    int64_t n_right = 0;
    for (const Answer& answer : outcome.answers) n_right += answer.fault.empty();
    right += n_right;
    n += int64_t(outcome.answers.size());
    if (outcome.answers.size() < 2) return;
    ++n_whole;
    right_whole += n_right == int64_t(outcome.answers.size());
}

Result<RunnerStats> answer_cases(Engine& engine, const Tokenizer& tokenizer, const ChatTemplate& chat,
                                 const std::vector<Case>& cases, const RunnerOptions& options,
                                 FunctionRef<void(const Outcome&)> done) {
    Runner runner(engine, tokenizer, chat, options);
    return runner.run(cases, done);
}

Status judge_references(const std::vector<Case>& cases, FunctionRef<void(const Outcome&)> done) {
    for (const Case& test : cases) {
        Outcome outcome;
        outcome.test = &test;
        for (const Turn& turn : test.turns) {
            if (!turn.has_reference) return fail(ErrorCode::kBadFile, "{}: has no reference", test.id);
            outcome.answers.push_back({turn.reference, find_fault(turn.check, turn.reference).value_or("")});
        }
        done(outcome);
    }
    return {};
}

}  // namespace sterna::eval
