/* Sterna's C API: load a model, tokenize, run sessions one by one or as a batch, read logits, sample, save and load state, cancel.
 *
 * Handles are opaque and freed by their *_free function; freeing null does nothing. Functions that can fail return a status and
 * leave a sentence for sterna_last_error(), which is the calling thread's own. A function that writes into a caller's buffer
 * takes the buffer's capacity, writes at most that much, and always reports the full count: call again with more when it is larger.
 *
 * Threads: a model may be shared freely. An engine and its sessions belong to one thread at a time; only sterna_engine_cancel may be
 * called from any thread. For a given model, prompt, parameters and seed the tokens are the same on every machine, with any
 * number of threads and whatever else is in the batch.
 */
#ifndef STERNA_STERNA_H
#define STERNA_STERNA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define STERNA_API __declspec(dllexport)
#else
#define STERNA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sterna_model sterna_model;
typedef struct sterna_engine sterna_engine;
typedef struct sterna_session sterna_session;

typedef enum sterna_status {
    STERNA_OK = 0,
    STERNA_BAD_ARGUMENT,
    STERNA_BAD_FILE,
    STERNA_UNSUPPORTED,
    STERNA_NOT_FOUND,
    STERNA_LIMIT, /* a context that is full, a text that is too long */
    STERNA_OUT_OF_MEMORY,
    STERNA_IO,
    STERNA_CANCELLED,
} sterna_status;

/* Why the last call on this thread failed. Lifetime: until the thread's next call. */
STERNA_API const char* sterna_last_error(void);
STERNA_API const char* sterna_version(void);
/* The kernel table in use: "scalar", "avx2", "avx512", "amx", "neon", "neon_dot", "wasm". */
STERNA_API const char* sterna_isa(void);

/* ---- Model ---- */

/* n_threads 0: all cores; they are used for packing the weights. */
STERNA_API sterna_status sterna_model_load(const char* path, int32_t n_threads, sterna_model** model);
STERNA_API void sterna_model_free(sterna_model* model);
STERNA_API int32_t sterna_model_vocab_size(const sterna_model* model);
STERNA_API int32_t sterna_model_context_length(const sterna_model* model); /* trained */
STERNA_API int32_t sterna_model_width(const sterna_model* model);
STERNA_API const char* sterna_model_architecture(const sterna_model* model);
STERNA_API int32_t sterna_model_bos(const sterna_model* model); /* -1: none */
STERNA_API int32_t sterna_model_eos(const sterna_model* model);
STERNA_API bool sterna_model_is_end(const sterna_model* model, int32_t token);

/* ---- Text ---- */

/* add_special: the begin and end tokens that the model wants. parse_special: control tokens spelled in the text become those tokens. */
STERNA_API sterna_status sterna_tokenize(const sterna_model* model, const char* text, size_t text_bytes,
                                         bool add_special, bool parse_special, int32_t* tokens, size_t capacity,
                                         size_t* n_tokens);
/* The bytes of a token; not necessarily whole UTF-8 characters. No terminating zero. */
STERNA_API sterna_status sterna_token_bytes(const sterna_model* model, int32_t token, bool with_special, char* bytes,
                                            size_t capacity, size_t* n_bytes);
STERNA_API sterna_status sterna_detokenize(const sterna_model* model, const int32_t* tokens, size_t n_tokens,
                                           bool with_special, char* text, size_t capacity, size_t* n_bytes);

typedef struct sterna_chat_message {
    const char* role;    /* "system", "user", "assistant" */
    const char* content; /* UTF-8, zero-terminated */
} sterna_chat_message;

/* The prompt text of a conversation by the model's own template, or by a built-in family ("chatml", "llama3", ...) when chat_template
 * is not null. Tokenize it with add_special false and parse_special true. */
STERNA_API sterna_status sterna_chat_render(const sterna_model* model, const char* chat_template,
                                            const sterna_chat_message* messages, size_t n_messages,
                                            bool add_generation_prompt, char* text, size_t capacity, size_t* n_bytes);

/* ---- Engine: the cache and the threads that sessions share ---- */

typedef enum sterna_kv { STERNA_KV_F16 = 0, STERNA_KV_Q8_0 = 1 } sterna_kv;

typedef struct sterna_engine_params {
    int32_t n_threads;     /* 0: all cores */
    int32_t context;       /* positions of one session; 0: the trained length, at most 4096 */
    int32_t max_sessions;  /* 0: 1 */
    int32_t prefill_chunk; /* prompt tokens per step; 0: 512 */
    sterna_kv kv;
} sterna_engine_params;

/* Lifetime: the model must outlive the engine, the engine its sessions. params may be null. */
STERNA_API sterna_status sterna_engine_create(const sterna_model* model, const sterna_engine_params* params,
                                              sterna_engine** engine);
STERNA_API void sterna_engine_free(sterna_engine* engine);
/* Makes the decode in flight stop with STERNA_CANCELLED soon; sessions stay usable. From any thread or signal handler. */
STERNA_API void sterna_engine_cancel(sterna_engine* engine);

/* ---- Sessions ---- */

typedef struct sterna_sampling {
    float temperature; /* <= 0: greedy */
    int32_t top_k;     /* 0: all */
    float top_p, min_p, typical_p;
    float repeat_penalty, presence_penalty, frequency_penalty;
    int32_t repeat_last_n; /* -1: the whole context */
    float dry_multiplier, dry_base;
    int32_t dry_allowed_length, dry_penalty_last_n;
    uint64_t seed;
} sterna_sampling;

STERNA_API void sterna_sampling_defaults(sterna_sampling* sampling);

STERNA_API sterna_status sterna_session_create(sterna_engine* engine, const sterna_sampling* sampling,
                                               sterna_session** session);
STERNA_API void sterna_session_free(sterna_session* session);

/* Adds tokens that the next decode will run. */
STERNA_API sterna_status sterna_session_append(sterna_session* session, const int32_t* tokens, size_t n_tokens);
/* Keeps the first n_tokens tokens. */
STERNA_API sterna_status sterna_session_truncate(sterna_session* session, size_t n_tokens);
STERNA_API size_t sterna_session_length(const sterna_session* session); /* tokens, run or waiting */

/* Runs all waiting tokens of these sessions, together. After it every one of them has logits for its last token. */
STERNA_API sterna_status sterna_engine_decode(sterna_engine* engine, sterna_session* const* sessions,
                                              size_t n_sessions);

/* The logits after the last token (vocab_size floats). Lifetime: until the next decode with this session. Null before the first. */
STERNA_API const float* sterna_session_logits(const sterna_session* session);
/* Chooses the next token from the logits and appends it. */
STERNA_API sterna_status sterna_session_sample(sterna_session* session, int32_t* token);

/* The whole state (tokens, cache, logits, sampler) as bytes; a loaded session goes on bit for bit. */
STERNA_API sterna_status sterna_session_save(const sterna_session* session, const char* path);
STERNA_API sterna_status sterna_session_load(sterna_session* session, const char* path);

#ifdef __cplusplus
}
#endif

#endif
