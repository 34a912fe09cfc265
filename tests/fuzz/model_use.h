// Lets a loaded model compute a little: whatever its file said, that must stay inside its memory.
#pragma once

#include "base/thread_pool.h"
#include "engine/engine.h"
#include "synthetic_model.h"

namespace sterna {

// Small ones, so that no accepted model is slow.
inline ModelLimits fuzz_limits() {
    ModelLimits limits;
    limits.max_layers = 4;
    limits.max_width = 128;
    limits.max_ffn_width = 256;
    limits.max_heads = 16;
    limits.max_head_dim = 64;
    limits.max_vocab = 4096;
    limits.max_experts = 16;
    return limits;
}

inline EngineOptions fuzz_options() {
    EngineOptions options;
    options.context = 48;
    options.chunk = 5;
    return options;
}

inline void use_model(const Model& model, ThreadPool& pool) {
    auto engine = Engine::create(model, pool, fuzz_options());
    if (!engine) {
        require(!engine.error().message.empty());
        return;
    }
    const int32_t last = int32_t(model.config().vocab_size - 1);
    const int32_t tokens[] = {0, last, 0, last / 2, last, 0, last / 3};
    if (model.is_embedding_model()) {
        (void)(*engine)->embed(tokens);
        return;
    }
    auto session = (*engine)->open_session();
    require(bool(session->append(tokens)));
    if (!(*engine)->evaluate(*session)) return;
    require(int64_t(session->logits().size()) == model.config().vocab_size);
    session->truncate(4);
    require(bool(session->append(last)));
    (void)(*engine)->evaluate(*session);
}

}  // namespace sterna
