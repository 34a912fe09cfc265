#include "train/training_data.h"

#include <algorithm>
#include <filesystem>

#include "convert/hf_tokenizer.h"
#include "train/bpe_trainer.h"

namespace sterna::train {

namespace {

namespace fs = std::filesystem;

Result<TrainingTokenizer> from_writer(const GgufWriter& writer, const Recipe& recipe) {
    STERNA_TRY(memory, MemoryGguf::from_writer(writer, "tokenizer"));
    STERNA_TRY(tokenizer, Tokenizer::from_metadata(memory.file()));
    std::string chat_template = recipe.tokenizer.chat_template;
    if (chat_template.empty()) chat_template = memory.file().get_string("tokenizer.chat_template").value_or("");
    return TrainingTokenizer{std::move(memory), std::move(tokenizer), std::move(chat_template)};
}

Result<TrainingTokenizer> read_tokenizer(const Recipe& recipe) {
    const std::string& from = recipe.tokenizer.from;
    if (!fs::is_directory(from)) {
        STERNA_TRY(file, GgufFile::open(from));
        return take_tokenizer(*file, recipe);
    }
    GgufWriter writer;
    std::vector<std::string> warnings;
    STERNA_CHECK(write_tokenizer(from, 0, writer, warnings));
    return from_writer(writer, recipe);
}

Result<TrainingTokenizer> learn_tokenizer(const Recipe& recipe, const std::vector<TextFile>& files, ThreadPool& pool,
                                          const std::function<void(const std::string&)>& note) {
    const auto& wanted = recipe.tokenizer;
    const Pretokenizer& pre = *Pretokenizer::find(wanted.pre);
    std::vector<WordCounts> counts(size_t(pool.size()), WordCounts(pre, wanted.special));
    constexpr size_t kPerTask = 256;
    for (const TextFile& file : files) {
        if (file.held_out) continue;
        const size_t n = file.documents.size();
        pool.run(int((n + kPerTask - 1) / kPerTask), [&](int task, int worker) {
            for (size_t i = size_t(task) * kPerTask; i < std::min(n, (size_t(task) + 1) * kPerTask); ++i)
                for (const TextPart& part : file.documents[i].parts) counts[size_t(worker)].add(part.text);
        });
    }
    for (size_t i = 1; i < counts.size(); ++i) counts[0].add(counts[i]);
    BpeOptions options;
    options.vocab_size = size_t(wanted.vocab_size);
    options.pre = wanted.pre;
    options.end = wanted.end;
    options.end_of_turn = wanted.end_of_turn;
    options.chat_template = wanted.chat_template;
    options.special = wanted.special;
    const TokenizerData data = make_bpe_tokenizer(counts[0].counts(), options);
    if (data.size() < options.vocab_size && note)
        note(fmt::format("the text gives a vocabulary of {} tokens, less than the {} asked for", data.size(),
                         options.vocab_size));
    GgufWriter writer;
    std::vector<std::string> warnings;
    STERNA_CHECK(write_tokenizer_data(data, 0, writer, warnings));
    return from_writer(writer, recipe);
}

}  // namespace

Result<TrainingTokenizer> take_tokenizer(const GgufFile& file, const Recipe& recipe) {
    GgufWriter writer;
    for (const GgufValue& value : file.values())
        if (value.key.starts_with("tokenizer.") || value.key.starts_with("sterna.tokenizer."))
            STERNA_CHECK(writer.set_value(value));
    return from_writer(writer, recipe);
}

Result<TrainingData> prepare_data(const Recipe& recipe, const GgufFile* existing, bool with_tokens, ThreadPool& pool,
                                  const std::atomic<bool>* cancel,
                                  const std::function<void(const std::string&)>& note) {
    std::optional<TrainingTokenizer> tokenizer;
    if (existing) {
        STERNA_TRY(taken, take_tokenizer(*existing, recipe));
        tokenizer = std::move(taken);
    } else if (!recipe.tokenizer.from.empty()) {
        STERNA_TRY(read, read_tokenizer(recipe));
        tokenizer = std::move(read);
    }
    // A template writes texts, from which the tokenizer may still have to be learned: all it needs are two of its tokens.
    std::string source = recipe.tokenizer.chat_template, bos, eos = recipe.tokenizer.end_of_turn;
    if (eos.empty()) eos = recipe.tokenizer.end;
    if (tokenizer) {
        const Tokenizer::SpecialIds& special = tokenizer->tokenizer->special();
        source = tokenizer->chat_template;
        bos = special.bos ? tokenizer->tokenizer->token_text(*special.bos) : "";
        eos = special.eos ? tokenizer->tokenizer->token_text(*special.eos) : "";
    }
    std::optional<ChatTemplate> chat;
    if (!source.empty()) {
        auto compiled = ChatTemplate::from_source(source, bos, eos);
        if (!compiled) return fail(compiled.error().code, "tokenizer.chat_template: {}", compiled.error().message);
        chat = std::move(*compiled);
    }
    TrainingData data{{}, {}, {}};
    if (tokenizer && !with_tokens) {
        data.tokenizer = std::move(*tokenizer);
        return data;
    }
    STERNA_TRY(files, read_texts(recipe, chat ? &*chat : nullptr, pool, cancel));
    if (!tokenizer) {
        STERNA_TRY(learned, learn_tokenizer(recipe, files, pool, note));
        tokenizer = std::move(learned);
    }
    if (with_tokens) {
        STERNA_TRY(tokens, tokenize_texts(files, *tokenizer->tokenizer, recipe, pool));
        data.tokens = std::move(tokens);
        const Sha256Digest digests[] = {data.tokens.training.digest(), data.tokens.held_out.digest()};
        Sha256 hash;
        hash.update(digests, sizeof digests);
        data.digest = hex_text(hash.finish());
    }
    data.tokenizer = std::move(*tokenizer);
    return data;
}

}  // namespace sterna::train
