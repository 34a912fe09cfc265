#include "answer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>

#include "base/sha256.h"

namespace sterna {

namespace {

std::string text_of(const Tokenizer& tokenizer, std::optional<TokenId> id) {
    return id ? std::string(tokenizer.token_bytes(*id, true)) : std::string();
}

// Holds text back while it may be the beginning of a stop text.
class StopFilter {
public:
    explicit StopFilter(const std::vector<std::string>& stops) : stops_(stops) {}

    // Appends to the text; returns what may be shown now. Sets stopped() when a stop text was found; what follows it is dropped.
    std::string push(std::string_view piece) {
        held_ += piece;
        size_t cut = std::string::npos;
        for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
        if (cut != std::string::npos) {
            stopped_ = true;
            held_.resize(cut);
            return std::move(held_);
        }
        size_t keep = 0;
        for (const std::string& stop : stops_)
            for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
                if (held_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
        std::string out = held_.substr(0, held_.size() - keep);
        held_.erase(0, held_.size() - keep);
        return out;
    }
    std::string finish() { return std::move(held_); }
    bool stopped() const { return stopped_; }

private:
    const std::vector<std::string>& stops_;
    std::string held_;
    bool stopped_ = false;
};

}  // namespace

Result<ChatTemplate> choose_template(const std::string& wanted, const OpenModel& open) {
    const std::string bos = text_of(*open.tokenizer, open.tokenizer->special().bos);
    const std::string eos = text_of(*open.tokenizer, open.tokenizer->special().eos);
    if (wanted.empty()) return ChatTemplate::from_metadata(*open.file, bos, eos);
    const auto families = ChatTemplate::builtin_families();
    if (std::find(families.begin(), families.end(), wanted) != families.end())
        return ChatTemplate::builtin(wanted, bos, eos);
    auto source = read_text_file(wanted);
    if (!source)
        return fail(ErrorCode::kBadArgument,
                    "--chat-template {}: neither a built-in family nor a file that can be read", wanted);
    return ChatTemplate::from_source(*source, bos, eos);
}

Result<std::unique_ptr<Answerer>> Answerer::create(RunOptions options) {
    auto made = std::unique_ptr<Answerer>(new Answerer);
    Answerer& self = *made;
    self.options_ = std::move(options);
    const RunOptions& o = self.options_;
    STERNA_TRY(open, open_model(o.model, o.threads, o.lora));
    self.open_ = std::move(open);
    if (self.open_.model->is_embedding_model())
        return fail(ErrorCode::kUnsupported, "{}: an embedding model ({}); it gives vectors, not answers", o.model,
                    self.open_.model->config().architecture);
    if (!o.raw) {
        auto chosen = choose_template(o.chat_template, self.open_);
        if (!chosen) return fail(chosen.error().code, "{}: {}", o.model, chosen.error().message);
        self.template_ = std::make_unique<ChatTemplate>(std::move(*chosen));
    }
    EngineOptions engine_options;
    engine_options.context = o.context;
    engine_options.chunk = o.chunk;
    engine_options.kv_kind = o.kv == "q8_0" ? kernels::KvKind::kQ8_0 : kernels::KvKind::kF16;
    if (self.open_.adapted) {
        // The id of a model does not see what an adapter changes: saved states of one must not be taken for another's.
        Sha256 hash;
        const ModelId id = model_id(*self.open_.model);
        hash.update(id);
        hash.update(self.open_.adapted->digest().data(), self.open_.adapted->digest().size());
        engine_options.model_id = hash.finish();
    }
    STERNA_TRY(engine, Engine::create(*self.open_.model, *self.open_.pool, engine_options));
    self.engine_ = std::move(engine);
    if (!o.draft.empty()) {
        STERNA_TRY(draft, open_model(o.draft, o.threads));
        self.draft_ = std::move(draft);
        engine_options.context = self.engine_->context();
        STERNA_TRY(draft_engine, Engine::create(*self.draft_.model, *self.open_.pool, engine_options));
        self.draft_engine_ = std::move(draft_engine);
    }
    apply_recommended_sampling(*self.open_.file, o.given_sampling, self.options_.sampler);
    const Tokenizer& tokenizer = *self.open_.tokenizer;
    if (!o.ignore_eos)
        for (size_t id = 0; id < tokenizer.vocab_size(); ++id)
            if (tokenizer.is_end_of_generation(TokenId(id))) self.stop_tokens_.push_back(int32_t(id));
    self.stop_texts_ = o.stop;
    if (self.template_)
        for (const std::string& stop : self.template_->stop_texts()) self.stop_texts_.push_back(stop);
    std::erase(self.stop_texts_, "");
    STERNA_CHECK(self.read_tools());
    STERNA_CHECK(self.add_breakers());
    STERNA_CHECK(self.add_logit_bias());
    self.reset();
    return made;
}

// A JSON list of functions, each {"name", "description", "parameters"} or wrapped as chat templates want it.
Status Answerer::read_tools() {
    const std::string& path = options_.tools;
    if (path.empty()) return {};
    if (options_.raw)
        return fail(ErrorCode::kBadArgument, "--tools: the chat template offers them, --raw goes without one");
    STERNA_TRY(text, read_text_file(path));
    OrderedJson list = OrderedJson::parse(text, nullptr, false);
    if (!list.is_array()) return fail(ErrorCode::kBadFile, "{}: expected a JSON list of functions", path);
    for (OrderedJson& tool : list) {
        if (tool.is_object() && !tool.contains("function"))
            tool = OrderedJson{{"type", "function"}, {"function", OrderedJson(tool)}};
        const bool named = tool.is_object() && tool["function"].is_object() && tool["function"].contains("name") &&
                           tool["function"]["name"].is_string();
        if (!named) return fail(ErrorCode::kBadFile, "{}: function {} has no name", path, &tool - &list[0] + 1);
    }
    tools_ = std::move(list);
    return {};
}

Status Answerer::add_breakers() {
    if (options_.sampler.dry.multiplier == 0) return {};
    for (const std::string& text : options_.dry_breakers) {
        EncodeOptions plain;
        plain.add_special = false;
        STERNA_TRY(ids, open_.tokenizer->encode(text, plain));
        if (!ids.empty()) options_.sampler.dry.sequence_breakers.emplace_back(ids.begin(), ids.end());
    }
    return {};
}

Status Answerer::add_logit_bias() {
    for (const std::string& text : options_.logit_bias) {
        char* end = nullptr;
        const long id = std::strtol(text.c_str(), &end, 10);
        const char* number = end;
        const float bias = *end == '+' || *end == '-' ? std::strtof(number, &end) : 0;
        if (end == number || *end != '\0' || id < 0)
            return fail(ErrorCode::kBadArgument,
                        "--logit-bias {}: expected a token id and a signed number, as 15043+1.5 or 2-inf", text);
        options_.sampler.logit_bias.emplace_back(int32_t(id), bias);
    }
    return {};
}

Result<std::unique_ptr<Drafter>> Answerer::make_drafter() {
    if (draft_engine_) {
        DraftModelParams params;
        params.sampler = options_.sampler;
        return make_model_drafter(*draft_engine_, engine_->vocab_size(), params);
    }
    if (options_.lookup) return make_lookup_drafter();
    return nullptr;
}

Result<std::vector<TokenId>> Answerer::encode_raw(std::string_view text) const {
    return open_.tokenizer->encode(text, EncodeOptions{});
}

Result<std::vector<TokenId>> Answerer::encode_chat(const std::vector<ChatMessage>& messages) const {
    ChatRenderOptions render;
    render.now = int64_t(std::time(nullptr));
    render.tools = tools_;
    STERNA_TRY(text, template_->render(messages, render));
    EncodeOptions encode;
    encode.add_special = false;
    encode.parse_special = true;
    STERNA_TRY(ids, open_.tokenizer->encode(text, encode));
    // Most templates spell the begin token themselves; where one does not, the model still wants it.
    const auto bos = open_.tokenizer->special().bos;
    if (open_.tokenizer->adds_bos() && bos && (ids.empty() || ids[0] != *bos)) ids.insert(ids.begin(), *bos);
    return ids;
}

Result<Answerer::Answer> Answerer::answer(std::span<const TokenId> prompt, uint64_t seed,
                                          FunctionRef<void(std::string_view)> show) {
    cancel = false;
    STERNA_CHECK(session_->set_tokens(prompt));
    GenerationOptions generation_options;
    generation_options.sampler = options_.sampler;
    generation_options.sampler.seed = seed;
    generation_options.max_new_tokens = options_.n_predict;
    generation_options.stop_tokens = stop_tokens_;
    generation_options.shift_context = options_.context_shift;
    generation_options.n_keep = options_.keep;
    generation_options.n_logprobs = options_.logprobs;
    generation_options.cancel = &cancel;
    STERNA_TRY(drafter, make_drafter());
    generation_options.drafter = std::move(drafter);

    Answer answer;
    StreamingDetokenizer detokenizer(*open_.tokenizer);
    StopFilter filter(stop_texts_);
    auto emit = [&](std::string_view piece) {
        std::string shown = filter.push(piece);
        answer.text += shown;
        if (!shown.empty()) show(shown);
    };
    const double start = now_seconds();
    double first = 0;
    STERNA_TRY(generation, Generation::create(*engine_, *session_, std::move(generation_options)));
    while (!filter.stopped()) {
        auto next = next_token(*engine_, *generation);
        if (first == 0) first = now_seconds();
        if (!next && generation->reason() != FinishReason::kCancelled) return std::unexpected(next.error());
        if (!next || !*next) break;
        const GeneratedToken& token = **next;
        answer.tokens.push_back(token);
        if (!token.is_stop) emit(detokenizer.push(token.token));
    }
    if (!filter.stopped()) {
        emit(detokenizer.finish());
        std::string rest = filter.finish();
        answer.text += rest;
        if (!rest.empty()) show(rest);
    }
    answer.stopped_by_text = filter.stopped();
    answer.reason = filter.stopped() ? FinishReason::kStopToken : generation->reason();
    answer.stats = generation->stats();
    answer.prompt_seconds = first - start;
    answer.decode_seconds = now_seconds() - first;
    if (answer.reason == FinishReason::kError) return std::unexpected(generation->status().error());
    return answer;
}

void print_timings(const Answerer& answerer, const Answerer::Answer& answer) {
    const GenerationStats& stats = answer.stats;
    auto line = [](const char* what, int64_t n, double seconds) {
        std::fprintf(stderr, "%-12s %8.2f ms / %5lld tokens (%8.2f ms per token, %8.2f tokens per second)\n", what,
                     seconds * 1e3, static_cast<long long>(n), n ? seconds * 1e3 / double(n) : 0,
                     seconds > 0 ? double(n) / seconds : 0);
    };
    std::fprintf(stderr, "load         %8.2f ms, kernels %s, %d threads\n", answerer.open().load_seconds * 1e3,
                 kernels::active().name, answerer.open().pool->size());
    line("prompt", stats.n_prompt - stats.n_reused, answer.prompt_seconds);
    line("decode", std::max<int64_t>(0, stats.n_generated - 1), answer.decode_seconds);
    if (stats.n_reused)
        std::fprintf(stderr, "reused       %lld tokens of the prompt from the cache\n",
                     static_cast<long long>(stats.n_reused));
    if (stats.n_drafted)
        std::fprintf(stderr, "speculation  %lld of %lld guesses accepted\n", static_cast<long long>(stats.n_accepted),
                     static_cast<long long>(stats.n_drafted));
    if (stats.n_shifts)
        std::fprintf(stderr, "context      shifted %lld times\n", static_cast<long long>(stats.n_shifts));
    std::fprintf(stderr, "memory       %s at most\n", human_bytes(double(peak_resident_bytes())).c_str());
    std::fprintf(stderr, "finished     %s\n", finish_reason_name(answer.reason));
}

}  // namespace sterna
