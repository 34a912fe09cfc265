// The C API over the C++ classes: handles hold them, statuses carry their errors. Nothing else happens here.
#include "sterna/sterna.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#ifndef STERNA_NO_THREADS
#include <thread>
#endif

#include "base/mapped_file.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/state_file.h"
#include "format/gguf.h"
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

using namespace sterna;

struct sterna_model {
    std::unique_ptr<GgufFile> file;
    std::unique_ptr<Tokenizer> tokenizer;
    std::unique_ptr<Model> model;
};

struct sterna_engine {
    const sterna_model* model = nullptr;
    std::unique_ptr<ThreadPool> pool;
    std::unique_ptr<Engine> engine;
    std::atomic<bool> cancel{false};
};

struct sterna_session {
    sterna_engine* owner = nullptr;
    std::unique_ptr<Session> session;
    std::unique_ptr<Sampler> sampler;
    std::vector<float> logits;  // a copy: the caller may append before reading
};

namespace {

#ifdef STERNA_NO_THREADS
std::string g_error;
int all_cores() {
    return 1;
}
#else
thread_local std::string g_error;
int all_cores() {
    return std::max(1, int(std::thread::hardware_concurrency()));
}
#endif

sterna_status status_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::kBadArgument:
            return STERNA_BAD_ARGUMENT;
        case ErrorCode::kBadFile:
            return STERNA_BAD_FILE;
        case ErrorCode::kUnsupported:
            return STERNA_UNSUPPORTED;
        case ErrorCode::kNotFound:
            return STERNA_NOT_FOUND;
        case ErrorCode::kLimit:
            return STERNA_LIMIT;
        case ErrorCode::kOutOfMemory:
            return STERNA_OUT_OF_MEMORY;
        case ErrorCode::kIo:
            return STERNA_IO;
        case ErrorCode::kCancelled:
            return STERNA_CANCELLED;
    }
    return STERNA_BAD_ARGUMENT;
}

sterna_status report(const Status& status) {
    if (status) return STERNA_OK;
    g_error = status.error().message;
    return status_of(status.error().code);
}

sterna_status refuse(const char* message) {
    g_error = message;
    return STERNA_BAD_ARGUMENT;
}

template <typename T>
sterna_status copy_out(const T* from, size_t n, T* to, size_t capacity, size_t* count) {
    if (count) *count = n;
    if (to) std::copy_n(from, std::min(n, capacity), to);
    return STERNA_OK;
}

Status load_model(const char* path, int n_threads, sterna_model& model) {
    if (const char* problem = kernels::isa_error()) return fail(ErrorCode::kUnsupported, "{}", problem);
    ThreadPool pool(n_threads > 0 ? n_threads : all_cores());
    STERNA_TRY(file, GgufFile::open(path));
    model.file = std::move(file);
    STERNA_TRY(tokenizer, Tokenizer::from_metadata(*model.file));
    model.tokenizer = std::move(tokenizer);
    LoadOptions options;
    options.pool = &pool;
    STERNA_TRY(loaded, Model::load(*model.file, *model.file, options));
    model.model = std::move(loaded);
    return {};
}

SamplerParams params_of(const sterna_sampling& s) {
    SamplerParams p;
    p.seed = s.seed;
    p.temperature = s.temperature;
    p.top_k = s.top_k;
    p.top_p = s.top_p;
    p.min_p = s.min_p;
    p.typical_p = s.typical_p;
    p.repeat_penalty = s.repeat_penalty;
    p.presence_penalty = s.presence_penalty;
    p.frequency_penalty = s.frequency_penalty;
    p.penalty_last_n = s.repeat_last_n;
    p.dry.multiplier = s.dry_multiplier;
    p.dry.base = s.dry_base;
    p.dry.allowed_length = s.dry_allowed_length;
    p.dry.last_n = s.dry_penalty_last_n;
    return p;
}

std::string special_text(const Tokenizer& tokenizer, std::optional<TokenId> id) {
    return id ? std::string(tokenizer.token_bytes(*id, true)) : std::string();
}

Status create_engine(sterna_engine& self, const sterna_engine_params& params) {
    self.pool = std::make_unique<ThreadPool>(params.n_threads > 0 ? params.n_threads : all_cores());
    EngineOptions options;
    options.context = params.context;
    options.n_sequences = std::max(1, params.max_sessions);
    if (params.prefill_chunk > 0) options.chunk = params.prefill_chunk;
    options.kv_kind = params.kv == STERNA_KV_Q8_0 ? kernels::KvKind::kQ8_0 : kernels::KvKind::kF16;
    STERNA_TRY(engine, Engine::create(*self.model->model, *self.pool, options));
    self.engine = std::move(engine);
    return {};
}

Result<std::string> render_chat(const sterna_model& model, const char* family, const sterna_chat_message* messages,
                                size_t n, bool add_generation_prompt) {
    const std::string bos = special_text(*model.tokenizer, model.tokenizer->special().bos);
    const std::string eos = special_text(*model.tokenizer, model.tokenizer->special().eos);
    STERNA_TRY(chosen,
               family ? ChatTemplate::builtin(family, bos, eos) : ChatTemplate::from_metadata(*model.file, bos, eos));
    std::vector<ChatMessage> conversation;
    for (size_t i = 0; i < n; ++i) {
        if (!messages[i].role || !messages[i].content)
            return fail(ErrorCode::kBadArgument, "message {}: role or content is null", i);
        conversation.push_back({messages[i].role, messages[i].content});
    }
    ChatRenderOptions options;
    options.add_generation_prompt = add_generation_prompt;
    return chosen.render(conversation, options);
}

Status decode(sterna_engine& engine, sterna_session* const* sessions, size_t n) {
    std::vector<StepItem> items(n);
    for (size_t i = 0; i < n; ++i) {
        if (!sessions[i] || sessions[i]->owner != &engine)
            return fail(ErrorCode::kBadArgument, "session {}: null, or of another engine", i);
        for (size_t j = 0; j < i; ++j)
            if (sessions[i] == sessions[j]) return fail(ErrorCode::kBadArgument, "session {}: given twice", i);
        if (sessions[i]->session->size() == 0) return fail(ErrorCode::kBadArgument, "session {}: has no tokens", i);
        items[i].session = sessions[i]->session.get();
    }
    engine.cancel = false;
    auto all_done = [&] {
        return std::all_of(items.begin(), items.end(), [](const StepItem& item) { return item.done || !item.status; });
    };
    while (!all_done()) STERNA_CHECK(engine.engine->step(items, nullptr, &engine.cancel));
    for (size_t i = 0; i < n; ++i) {
        if (!items[i].status) return items[i].status;
        auto logits = sessions[i]->session->logits();
        sessions[i]->logits.assign(logits.begin(), logits.end());
    }
    return {};
}

Status sample(sterna_session& self, int32_t& token) {
    if (self.logits.empty()) return fail(ErrorCode::kBadArgument, "session: no logits yet; decode first");
    if (self.session->n_pending() > 0)
        return fail(ErrorCode::kBadArgument, "session: tokens are waiting; decode first");
    STERNA_TRY(chosen, self.sampler->sample(self.logits, self.session->tokens(), self.session->stream_position()));
    STERNA_CHECK(self.session->append(chosen));
    token = chosen;
    return {};
}

Status load_state(sterna_session& self, const char* path) {
    STERNA_TRY(file, MappedFile::open(path));
    STERNA_TRY(loaded, load_session(*self.owner->engine, file.bytes(), path));
    if (loaded.sampler) {
        STERNA_TRY(sampler,
                   Sampler::create(*loaded.sampler, self.owner->engine->vocab_size(), self.owner->engine->kernels()));
        self.sampler = std::make_unique<Sampler>(std::move(sampler));
    }
    self.session = std::move(loaded.session);
    auto logits = self.session->logits();
    self.logits.assign(logits.begin(), logits.end());
    return {};
}

}  // namespace

extern "C" {

const char* sterna_last_error(void) {
    return g_error.c_str();
}
const char* sterna_version(void) {
    return STERNA_VERSION;
}
const char* sterna_isa(void) {
    return kernels::active().name;
}

sterna_status sterna_model_load(const char* path, int32_t n_threads, sterna_model** model) {
    if (!path || !model) return refuse("sterna_model_load: path or model is null");
    *model = nullptr;
    auto made = std::make_unique<sterna_model>();
    sterna_status status = report(load_model(path, n_threads, *made));
    if (status == STERNA_OK) *model = made.release();
    return status;
}

void sterna_model_free(sterna_model* model) {
    delete model;
}
int32_t sterna_model_vocab_size(const sterna_model* model) {
    return int32_t(model->model->config().vocab_size);
}
int32_t sterna_model_context_length(const sterna_model* model) {
    return int32_t(model->model->config().context_length);
}
int32_t sterna_model_width(const sterna_model* model) {
    return int32_t(model->model->config().width);
}
const char* sterna_model_architecture(const sterna_model* model) {
    return model->model->config().architecture.c_str();
}
int32_t sterna_model_bos(const sterna_model* model) {
    return model->tokenizer->special().bos.value_or(-1);
}
int32_t sterna_model_eos(const sterna_model* model) {
    return model->tokenizer->special().eos.value_or(-1);
}

bool sterna_model_is_end(const sterna_model* model, int32_t token) {
    return token >= 0 && size_t(token) < model->tokenizer->vocab_size() &&
           model->tokenizer->is_end_of_generation(token);
}

sterna_status sterna_tokenize(const sterna_model* model, const char* text, size_t text_bytes, bool add_special,
                              bool parse_special, int32_t* tokens, size_t capacity, size_t* n_tokens) {
    if (!model || (!text && text_bytes)) return refuse("sterna_tokenize: model or text is null");
    EncodeOptions options;
    options.add_special = add_special;
    options.parse_special = parse_special;
    auto ids = model->tokenizer->encode({text, text_bytes}, options);
    if (!ids) return report(std::unexpected(ids.error()));
    return copy_out(ids->data(), ids->size(), tokens, capacity, n_tokens);
}

sterna_status sterna_token_bytes(const sterna_model* model, int32_t token, bool with_special, char* bytes,
                                 size_t capacity, size_t* n_bytes) {
    if (!model || token < 0 || size_t(token) >= model->tokenizer->vocab_size())
        return refuse("sterna_token_bytes: token outside the vocabulary");
    auto text = model->tokenizer->token_bytes(token, with_special);
    return copy_out(text.data(), text.size(), bytes, capacity, n_bytes);
}

sterna_status sterna_detokenize(const sterna_model* model, const int32_t* tokens, size_t n_tokens, bool with_special,
                                char* text, size_t capacity, size_t* n_bytes) {
    if (!model || (!tokens && n_tokens)) return refuse("sterna_detokenize: model or tokens is null");
    for (size_t i = 0; i < n_tokens; ++i)
        if (tokens[i] < 0 || size_t(tokens[i]) >= model->tokenizer->vocab_size())
            return refuse("sterna_detokenize: token outside the vocabulary");
    const std::string decoded = model->tokenizer->decode({tokens, n_tokens}, with_special);
    return copy_out(decoded.data(), decoded.size(), text, capacity, n_bytes);
}

sterna_status sterna_chat_render(const sterna_model* model, const char* chat_template,
                                 const sterna_chat_message* messages, size_t n_messages, bool add_generation_prompt,
                                 char* text, size_t capacity, size_t* n_bytes) {
    if (!model || (!messages && n_messages)) return refuse("sterna_chat_render: model or messages is null");
    auto rendered = render_chat(*model, chat_template, messages, n_messages, add_generation_prompt);
    if (!rendered) return report(std::unexpected(rendered.error()));
    return copy_out(rendered->data(), rendered->size(), text, capacity, n_bytes);
}

sterna_status sterna_engine_create(const sterna_model* model, const sterna_engine_params* params,
                                   sterna_engine** engine) {
    if (!model || !engine) return refuse("sterna_engine_create: model or engine is null");
    *engine = nullptr;
    auto made = std::make_unique<sterna_engine>();
    made->model = model;
    sterna_status status = report(create_engine(*made, params ? *params : sterna_engine_params{}));
    if (status == STERNA_OK) *engine = made.release();
    return status;
}

void sterna_engine_free(sterna_engine* engine) {
    delete engine;
}
void sterna_engine_cancel(sterna_engine* engine) {
    engine->cancel.store(true);
}

void sterna_sampling_defaults(sterna_sampling* sampling) {
    const SamplerParams p;
    *sampling = {p.temperature,
                 p.top_k,
                 p.top_p,
                 p.min_p,
                 p.typical_p,
                 p.repeat_penalty,
                 p.presence_penalty,
                 p.frequency_penalty,
                 p.penalty_last_n,
                 p.dry.multiplier,
                 p.dry.base,
                 p.dry.allowed_length,
                 p.dry.last_n,
                 p.seed};
}

sterna_status sterna_session_create(sterna_engine* engine, const sterna_sampling* sampling, sterna_session** session) {
    if (!engine || !session) return refuse("sterna_session_create: engine or session is null");
    *session = nullptr;
    sterna_sampling defaults;
    sterna_sampling_defaults(&defaults);
    auto sampler = Sampler::create(params_of(sampling ? *sampling : defaults), engine->engine->vocab_size(),
                                   engine->engine->kernels());
    if (!sampler) return report(std::unexpected(sampler.error()));
    auto made = std::make_unique<sterna_session>();
    made->owner = engine;
    made->session = engine->engine->open_session();
    made->sampler = std::make_unique<Sampler>(std::move(*sampler));
    *session = made.release();
    return STERNA_OK;
}

void sterna_session_free(sterna_session* session) {
    delete session;
}

sterna_status sterna_session_append(sterna_session* session, const int32_t* tokens, size_t n_tokens) {
    if (!session || (!tokens && n_tokens)) return refuse("sterna_session_append: session or tokens is null");
    return report(session->session->append({tokens, n_tokens}));
}

sterna_status sterna_session_truncate(sterna_session* session, size_t n_tokens) {
    if (!session || n_tokens > size_t(session->session->size()))
        return refuse("sterna_session_truncate: more tokens than there are");
    session->session->truncate(int64_t(n_tokens));
    session->logits.clear();
    return STERNA_OK;
}

size_t sterna_session_length(const sterna_session* session) {
    return size_t(session->session->size());
}

sterna_status sterna_engine_decode(sterna_engine* engine, sterna_session* const* sessions, size_t n_sessions) {
    if (!engine || (!sessions && n_sessions)) return refuse("sterna_engine_decode: engine or sessions is null");
    return report(decode(*engine, sessions, n_sessions));
}

const float* sterna_session_logits(const sterna_session* session) {
    return session->logits.empty() ? nullptr : session->logits.data();
}

sterna_status sterna_session_sample(sterna_session* session, int32_t* token) {
    if (!session || !token) return refuse("sterna_session_sample: session or token is null");
    return report(sample(*session, *token));
}

sterna_status sterna_session_save(const sterna_session* session, const char* path) {
    if (!session || !path) return refuse("sterna_session_save: session or path is null");
    return report(write_file_atomically(path, save_session(*session->session, &session->sampler->params())));
}

sterna_status sterna_session_load(sterna_session* session, const char* path) {
    if (!session || !path) return refuse("sterna_session_load: session or path is null");
    return report(load_state(*session, path));
}

}  // extern "C"
