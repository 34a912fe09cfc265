// Writes the logits of every position of a token sequence, as little-endian floats, to standard output; of an embedding
// model the mean of its hidden states: dump_logits FILE.gguf TOKEN... The cache is F32, so that nothing but the weights' type
// stands between this and another implementation.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "engine/engine.h"
#include "format/gguf.h"

namespace {

int fail_with(const sterna::Error& error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 1;
}

int write(std::span<const float> values) {
    return std::fwrite(values.data(), sizeof(float), values.size(), stdout) == values.size() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace sterna;
    if (argc < 3) return 2;
    auto file = GgufFile::open(argv[1]);
    if (!file) return fail_with(file.error());
    ThreadPool pool(1);
    auto model = Model::load(**file, **file, {.pool = &pool, .limits = {}, .cancel = nullptr});
    if (!model) return fail_with(model.error());
    std::vector<int32_t> tokens;
    for (int i = 2; i < argc; ++i) tokens.push_back(int32_t(std::strtol(argv[i], nullptr, 10)));
    EngineOptions options;
    options.context = int64_t(tokens.size());
    options.kv_kind = kernels::KvKind::kF32;
    auto engine = Engine::create(**model, pool, options);
    if (!engine) return fail_with(engine.error());
    if ((*model)->is_embedding_model()) {
        auto vector = (*engine)->embed(tokens, false);
        return vector ? write(*vector) : fail_with(vector.error());
    }
    auto session = (*engine)->open_session();
    if (Status appended = session->append(tokens); !appended) return fail_with(appended.error());
    int status = 0;
    auto sink = [&](size_t, int64_t, std::span<const float> logits) { status |= write(logits); };
    if (Status done = (*engine)->evaluate(*session, 0, sink); !done) return fail_with(done.error());
    return status;
}
