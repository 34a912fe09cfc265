#include "train/training_samples.h"

#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/session.h"
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace sterna::train {

namespace {

std::string text_of(const Tokenizer& tokenizer, std::optional<TokenId> id) {
    return id ? std::string(tokenizer.token_text(*id)) : "";
}

}  // namespace

Result<std::vector<WrittenSample>> write_samples(const Recipe& recipe, const GgufFile& metadata,
                                                 std::vector<TrainedTensor> tensors, ThreadPool& pool) {
    STERNA_TRY(memory, model_in_memory(metadata, std::move(tensors)));
    STERNA_TRY(tokenizer, Tokenizer::from_metadata(memory.file()));
    LoadOptions load;
    load.pool = &pool;
    STERNA_TRY(model, Model::load(memory.file(), memory.file(), load));
    STERNA_TRY(engine, Engine::create(*model, pool));
    std::vector<int32_t> stops;
    for (TokenId id = 0; id < TokenId(tokenizer->vocab_size()); ++id)
        if (tokenizer->is_end_of_generation(id)) stops.push_back(id);
    std::vector<WrittenSample> written;
    for (const Sample& sample : recipe.evaluation.samples) {
        std::string prompt = sample.text;
        EncodeOptions encode;
        if (sample.is_chat) {
            const auto& special = tokenizer->special();
            STERNA_TRY(chat, ChatTemplate::from_metadata(memory.file(), text_of(*tokenizer, special.bos),
                                                         text_of(*tokenizer, special.eos)));
            std::vector<ChatMessage> messages;
            if (!sample.system.empty()) messages.push_back({"system", sample.system});
            messages.push_back({"user", sample.user});
            STERNA_TRY(rendered, chat.render(messages));
            prompt = std::move(rendered);
            encode.parse_special = true;
            encode.add_special = false;
        }
        STERNA_TRY(ids, tokenizer->encode(prompt, encode));
        const std::unique_ptr<Session> session = engine->open_session();
        STERNA_CHECK(session->append(ids));
        GenerationOptions options;
        options.sampler.seed = recipe.training.seed;
        options.sampler.temperature = sample.is_chat ? 0.0f : 0.7f;
        options.max_new_tokens = recipe.evaluation.sample_tokens;
        options.stop_tokens = stops;
        STERNA_TRY(generation, Generation::create(*engine, *session, std::move(options)));
        StreamingDetokenizer decoder(*tokenizer);
        std::string text;
        while (true) {
            STERNA_TRY(token, next_token(*engine, *generation));
            if (!token || token->is_stop) break;
            text += decoder.push(token->token);
        }
        text += decoder.finish();
        written.push_back({sample.is_chat ? sample.user : sample.text, std::move(text)});
    }
    return written;
}

}  // namespace sterna::train
