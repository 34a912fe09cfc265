// A changed saved session, with a checksum that fits again: refused with a sentence, or a session that goes on. The input: edits of a
// valid one; behind a first byte of 255, the whole file.
#include "base/sha256.h"
#include "engine/sampler.h"
#include "engine/state_file.h"
#include "model_use.h"

namespace {

using namespace sterna;

struct Setup {
    ThreadPool pool{1};
    std::unique_ptr<Model> model;
    std::unique_ptr<Engine> engine;
    std::vector<uint8_t> saved;

    Setup() {
        SyntheticModel synthetic(*find_architecture("llama"));
        require(synthetic.make_tensors(fuzz_limits()));
        model =
            std::move(*Model::load(synthetic, synthetic, {.pool = &pool, .limits = fuzz_limits(), .cancel = nullptr}));
        engine = std::move(*Engine::create(*model, pool, fuzz_options()));
        auto session = engine->open_session();
        std::vector<int32_t> tokens;
        for (int32_t i = 0; i < 40; ++i) tokens.push_back(i % int32_t(SyntheticModel::kVocab));
        require(session->append(tokens) && engine->evaluate(*session));
        SamplerParams sampler;
        sampler.dry.sequence_breakers = {{1}, {2, 3}};
        sampler.logit_bias = {{4, -1.0f}};
        saved = save_session(*session, &sampler);
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Setup setup;
    constexpr size_t kDigestBytes = 32;
    std::vector<uint8_t> bytes;
    ByteReader input({data, size});
    if (size > 0 && data[0] == 255) {
        bytes.assign(data + 1, data + size);
    } else {
        bytes = setup.saved;
        apply_edits(input, bytes);
    }
    if (bytes.size() >= kDigestBytes) {
        Sha256 hash;
        hash.update(Bytes(bytes).first(bytes.size() - kDigestBytes));
        const auto digest = hash.finish();
        std::copy(digest.begin(), digest.end(), bytes.end() - kDigestBytes);
    }
    bytes.shrink_to_fit();
    auto loaded = load_session(*setup.engine, bytes, "input");
    if (!loaded) {
        require(!loaded.error().message.empty() && loaded.error().message.size() < 1000);
        return 0;
    }
    Session& session = *loaded->session;
    (void)save_session(session, loaded->sampler ? &*loaded->sampler : nullptr);
    // What the file said of the cache may be anything; going on must be safe. Not so often: it costs a hundred times the rest.
    if (!session.append(1) || !setup.engine->evaluate(session)) return 0;
    if (!loaded->sampler) return 0;
    auto sampler = Sampler::create(*loaded->sampler, setup.engine->vocab_size());
    if (!sampler) return 0;
    auto token = sampler->sample(session.logits(), session.tokens(), session.stream_position());
    require(!token || (*token >= 0 && *token < setup.engine->vocab_size()));
    return 0;
}
