/* A minimal program over the C API: sterna-example m.gguf "prompt" [n_tokens]. Continues the prompt greedily, without a template. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sterna/sterna.h"

static int complain(const char* what) {
    fprintf(stderr, "%s: %s\n", what, sterna_last_error());
    return 1;
}

int main(int argc, char** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT [TOKENS]\n", argv[0]);
        return 2;
    }
    const int n_predict = argc > 3 ? atoi(argv[3]) : 64;

    sterna_model* model = NULL;
    if (sterna_model_load(argv[1], 0, &model) != STERNA_OK) return complain("load");
    sterna_engine* engine = NULL;
    if (sterna_engine_create(model, NULL, &engine) != STERNA_OK) return complain("engine");

    sterna_sampling sampling;
    sterna_sampling_defaults(&sampling);
    sampling.temperature = 0;
    sterna_session* session = NULL;
    if (sterna_session_create(engine, &sampling, &session) != STERNA_OK) return complain("session");

    int32_t tokens[4096];
    size_t n_tokens = 0;
    if (sterna_tokenize(model, argv[2], strlen(argv[2]), true, false, tokens, 4096, &n_tokens) != STERNA_OK)
        return complain("tokenize");
    if (n_tokens > 4096) {
        fprintf(stderr, "the prompt has %zu tokens, this example takes 4096\n", n_tokens);
        return 1;
    }
    if (sterna_session_append(session, tokens, n_tokens) != STERNA_OK) return complain("prompt");

    for (int i = 0; i < n_predict; ++i) {
        if (sterna_engine_decode(engine, &session, 1) != STERNA_OK) return complain("decode");
        int32_t token = 0;
        if (sterna_session_sample(session, &token) != STERNA_OK) return complain("sample");
        if (sterna_model_is_end(model, token)) break;
        char bytes[256];
        size_t n_bytes = 0;
        sterna_token_bytes(model, token, false, bytes, sizeof bytes, &n_bytes);
        fwrite(bytes, 1, n_bytes < sizeof bytes ? n_bytes : sizeof bytes, stdout);
        fflush(stdout);
    }
    printf("\n");

    sterna_session_free(session);
    sterna_engine_free(engine);
    sterna_model_free(model);
    return 0;
}
