// sterna run: one answer, or a chat (docs/run.md).
#include <csignal>
#include <memory>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "answer.h"
#include "commands.h"
#include "hub_model.h"
#include "shipped_model.h"

namespace sterna {

namespace {

std::atomic<bool>* g_cancel = nullptr;

void on_interrupt(int) {
    if (g_cancel) g_cancel->store(true);
}

// Ctrl-C stops the answer. No SA_RESTART: a read in the chat returns so that the prompt can be shown anew.
void catch_interrupt(Answerer& answerer) {
    g_cancel = &answerer.cancel;
    struct sigaction action = {};
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, nullptr);
}

void print_json(const Answerer& answerer, const Answerer::Answer& answer) {
    using Json = nlohmann::ordered_json;
    Json ids = Json::array(), logprobs = Json::array();
    const Tokenizer& tokenizer = *answerer.open().tokenizer;
    auto text = [&](int32_t token) { return std::string(tokenizer.token_bytes(token, true)); };
    for (const GeneratedToken& token : answer.tokens) {
        ids.push_back(token.token);
        if (answerer.options().logprobs < 0) continue;
        Json top = Json::array();
        for (const TokenLogprob& other : token.top)
            top.push_back({{"token", other.token}, {"text", text(other.token)}, {"logprob", other.logprob}});
        logprobs.push_back(
            {{"token", token.token}, {"text", text(token.token)}, {"logprob", token.logprob}, {"top", top}});
    }
    auto rate = [](double n, double seconds) { return seconds > 0 ? n / seconds : 0; };
    const int64_t n_prompt = answer.stats.n_prompt - answer.stats.n_reused;
    Json out{{"model", answerer.options().model},
             {"text", answer.text},
             {"tokens", ids},
             {"finish_reason", finish_reason_name(answer.reason)},
             {"prompt_tokens", answer.stats.n_prompt},
             {"generated_tokens", answer.stats.n_generated},
             {"seed", answerer.options().sampler.seed},
             {"peak_resident_bytes", peak_resident_bytes()},
             {"timings",
              {{"load_seconds", answerer.open().load_seconds},
               {"prompt_seconds", answer.prompt_seconds},
               {"prompt_tokens_per_second", rate(double(n_prompt), answer.prompt_seconds)},
               {"decode_seconds", answer.decode_seconds},
               {"decode_tokens_per_second", rate(double(answer.stats.n_generated - 1), answer.decode_seconds)}}}};
    if (answerer.options().logprobs >= 0) out["logprobs"] = logprobs;
    if (answer.stats.n_drafted)
        out["speculation"] = {{"drafted", answer.stats.n_drafted}, {"accepted", answer.stats.n_accepted}};
    std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

Result<int> run_once(Answerer& answerer, const std::string& prompt) {
    const RunOptions& options = answerer.options();
    std::vector<TokenId> tokens;
    if (options.raw) {
        STERNA_TRY(ids, answerer.encode_raw(prompt));
        tokens = std::move(ids);
    } else {
        std::vector<ChatMessage> messages;
        if (!options.system.empty()) messages.push_back({"system", options.system});
        messages.push_back({"user", prompt});
        STERNA_TRY(ids, answerer.encode_chat(messages));
        tokens = std::move(ids);
    }
    auto show = [&](std::string_view piece) {
        if (options.json) return;
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
    };
    STERNA_TRY(answer, answerer.answer(tokens, options.sampler.seed, show));
    if (options.json)
        print_json(answerer, answer);
    else
        std::printf("\n");
    if (options.verbose) print_timings(answerer, answer);
    return answer.reason == FinishReason::kCancelled ? 130 : 0;
}

Result<int> run(RunOptions options) {
    if (options.chat_template == "list") {
        for (std::string_view family : ChatTemplate::builtin_families())
            std::printf("%s\n", std::string(family).c_str());
        return 0;
    }
    if (options.model.empty()) options.model = kShippedModel;
    for (std::string* model : {&options.model, &options.draft}) {
        if (model->empty()) continue;
        STERNA_TRY(path, fetch_model(*model, options.offline));
        *model = std::move(path);
    }
    bool interactive = false;
    std::string prompt = options.prompt;
    if (!options.prompt_file.empty()) {
        STERNA_TRY(text, read_text_file(options.prompt_file));
        prompt += text;
    } else if (!options.has_prompt) {
        interactive = ::isatty(STDIN_FILENO) && !options.raw;
        if (!interactive) {
            STERNA_TRY(text, read_stdin());
            prompt = std::move(text);
        }
    }
    if (interactive && options.json)
        return fail(ErrorCode::kBadArgument, "--json: needs a prompt (-p, -f or standard input)");
    STERNA_TRY(answerer, Answerer::create(std::move(options)));
    catch_interrupt(*answerer);
    auto status = interactive ? chat(*answerer) : run_once(*answerer, prompt);
    g_cancel = nullptr;
    return status;
}

// Those that a model file may recommend values for, by its names, and their flags.
constexpr std::pair<const char*, const char*> kRecommendable[] = {
    {"temp", "--temp"},
    {"top_k", "--top-k"},
    {"top_p", "--top-p"},
    {"min_p", "--min-p"},
    {"xtc_probability", "--xtc-probability"},
    {"xtc_threshold", "--xtc-threshold"},
    {"penalty_repeat", "--repeat-penalty"},
    {"penalty_last_n", "--repeat-last-n"},
};

void add_sampling_flags(CLI::App& sub, RunOptions& options) {
    SamplerParams& s = options.sampler;
    sub.add_option("--temp", s.temperature, "temperature; 0 is greedy")->capture_default_str()->group("Sampling");
    sub.add_option("--top-k", s.top_k, "only the k likeliest; 0: all")->capture_default_str()->group("Sampling");
    sub.add_option("--top-p", s.top_p, "only the likeliest that make up p")->capture_default_str()->group("Sampling");
    sub.add_option("--min-p", s.min_p, "only those with at least p of the likeliest's probability")
        ->capture_default_str()
        ->group("Sampling");
    sub.add_option("--typical", s.typical_p, "locally typical sampling")->capture_default_str()->group("Sampling");
    sub.add_option("--top-n-sigma", s.top_n_sigma, "only logits within n standard deviations of the largest; 0: all")
        ->capture_default_str()
        ->group("Sampling");
    sub.add_option("--xtc-probability", s.xtc_probability, "how often the likeliest choices are excluded; 0: never")
        ->capture_default_str()
        ->group("Sampling");
    sub.add_option("--xtc-threshold", s.xtc_threshold, "probability from which a token is such a choice")
        ->capture_default_str()
        ->group("Sampling");
    sub.add_option("--repeat-penalty", s.repeat_penalty, "1: off")->capture_default_str()->group("Sampling");
    sub.add_option("--repeat-last-n", s.penalty_last_n, "tokens that the penalties look at; -1: all")
        ->capture_default_str()
        ->group("Sampling");
    sub.add_option("--presence-penalty", s.presence_penalty, "0: off")->capture_default_str()->group("Sampling");
    sub.add_option("--frequency-penalty", s.frequency_penalty, "0: off")->capture_default_str()->group("Sampling");
    sub.add_option("--dry-multiplier", s.dry.multiplier, "0: off")->capture_default_str()->group("Sampling");
    sub.add_option("--dry-base", s.dry.base, "")->capture_default_str()->group("Sampling");
    sub.add_option("--dry-allowed-length", s.dry.allowed_length, "")->capture_default_str()->group("Sampling");
    sub.add_option("--dry-penalty-last-n", s.dry.last_n, "-1: all")->capture_default_str()->group("Sampling");
    sub.add_option("--dry-sequence-breaker", options.dry_breakers, "text that no repeat is followed across")
        ->group("Sampling");
    sub.add_option("--logit-bias", options.logit_bias, "ID+X or ID-X: added to a token's logit")
        ->allow_extra_args(false)
        ->group("Sampling");
    sub.add_option("--seed", s.seed, "the same seed gives the same tokens")->capture_default_str()->group("Sampling");
    sub.add_option("--logprobs", options.logprobs,
                   "with --json: log-probabilities, and those of the N likeliest tokens")
        ->check(CLI::Range(0, 1000))
        ->group("Sampling");
}

}  // namespace

void add_run(CLI::App& app, Command& command) {
    auto options = std::make_shared<RunOptions>();
    CLI::App* sub = app.add_subcommand("run", "One answer, or a chat when no prompt is given");
    sub->add_option("model", options->model,
                    "a GGUF file, or org/name[:type], which is fetched when it is not here; without one, the model in "
                    "this program");
    CLI::Option* prompt = sub->add_option("-p,--prompt", options->prompt, "the prompt");
    sub->add_option("-f,--file", options->prompt_file, "a file that holds the prompt");
    sub->add_option("-s,--system", options->system, "a system message");
    sub->add_option("--tools", options->tools, "a JSON list of functions that the model may call");
    sub->add_flag("--raw", options->raw, "continue the text as it stands, without a chat template");
    sub->add_option("-n,--predict", options->n_predict, "at most this many new tokens")
        ->check(CLI::Range(int64_t(-1), int64_t(1) << 24));
    sub->add_option("--chat-template", options->chat_template, "a built-in family, a Jinja file, or 'list'");
    sub->add_option("--stop", options->stop, "end the answer before this text")->allow_extra_args(false);
    sub->add_flag("--json", options->json, "print one JSON object");
    sub->add_flag("--ignore-eos", options->ignore_eos, "go on after the end token");
    sub->add_option("-t,--threads", options->threads, "threads; their number changes no token")
        ->check(CLI::Range(1, 1024))
        ->group("Machine");
    sub->add_option("-c,--ctx", options->context,
                    "positions the session can hold (default: the trained length, at most 4096)")
        ->check(CLI::Range(int64_t(1), int64_t(1) << 24))
        ->group("Machine");
    sub->add_option("--kv", options->kv, "how the cache is stored")
        ->check(CLI::IsMember({"f16", "q8_0"}))
        ->group("Machine");
    sub->add_option("--chunk", options->chunk, "prompt tokens per step")
        ->check(CLI::Range(int64_t(1), int64_t(1) << 16))
        ->capture_default_str()
        ->group("Machine");
    sub->add_flag("--ctx-shift", options->context_shift, "when the context is full, drop the older half and go on")
        ->group("Machine");
    sub->add_option("--keep", options->keep, "with --ctx-shift: tokens at the beginning that stay")
        ->check(CLI::Range(int64_t(0), int64_t(1) << 24))
        ->group("Machine");
    sub->add_option("--lora", options->lora, "add this adapter to the weights; may be repeated")
        ->allow_extra_args(false)
        ->group("Machine");
    sub->add_option("--draft", options->draft, "speculative decoding with this small model")->group("Machine");
    sub->add_flag("--lookup", options->lookup, "speculative decoding by text that has occurred before")
        ->group("Machine");
    sub->add_flag("--offline", options->offline, "never fetch a model")->group("Machine");
    sub->add_flag("-v,--verbose", options->verbose, "print timings")->group("Machine");
    add_sampling_flags(*sub, *options);
    sub->callback([options, prompt, sub, &command] {
        options->has_prompt = prompt->count() > 0;
        for (const auto& [name, flag] : kRecommendable)
            if (sub->count(flag) > 0) options->given_sampling.push_back(name);
        command = [options] { return run(*options); };
    });
}

}  // namespace sterna
