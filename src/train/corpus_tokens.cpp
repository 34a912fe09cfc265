#include "train/corpus_tokens.h"

#include <algorithm>
#include <optional>

#include "engine/random.h"

namespace sterna::train {

namespace {

constexpr uint32_t kHeldOutStream = 0x48454C44;  // apart from the draws of shuffling

struct Encoded {
    std::vector<int32_t> tokens;
    std::vector<float> weights;
    uint64_t n_bytes = 0;
};

Status encode_document(const TextDocument& document, const Tokenizer& tokenizer, float context_weight,
                       std::optional<int32_t> end, Encoded& to) {
    EncodeOptions options;
    options.add_special = false;
    options.parse_special = document.is_chat;
    // A template writes it itself.
    if (!document.is_chat && tokenizer.adds_bos() && tokenizer.special().bos) {
        to.tokens.push_back(*tokenizer.special().bos);
        to.weights.push_back(0.0f);
    }
    for (const TextPart& part : document.parts) {
        to.n_bytes += part.text.size();
        STERNA_TRY(ids, tokenizer.encode(part.text, options));
        bool in_reply = part.is_reply;
        for (int32_t id : ids) {
            to.tokens.push_back(id);
            to.weights.push_back(!document.is_chat || in_reply ? part.weight : context_weight);
            if (tokenizer.is_end_of_generation(id)) in_reply = false;
        }
        if (in_reply)
            return fail(ErrorCode::kUnsupported,
                        "the chat template ends a reply with no token that the tokenizer knows as an end");
    }
    if (!document.is_chat && end) {
        to.tokens.push_back(*end);
        to.weights.push_back(1.0f);
    }
    return {};
}

void append(TokenCorpus& corpus, const Encoded& document, uint32_t file, uint32_t row_length) {
    if (document.tokens.size() < 2) return;
    const uint64_t begin = corpus.tokens.size();
    corpus.tokens.insert(corpus.tokens.end(), document.tokens.begin(), document.tokens.end());
    corpus.weights.insert(corpus.weights.end(), document.weights.begin(), document.weights.end());
    corpus.n_bytes += document.n_bytes;
    ++corpus.n_documents;
    uint64_t n = document.tokens.size() - 1;
    corpus.n_cut += n > row_length;
    for (uint64_t at = 0; at < n; at += row_length)
        corpus.pieces.push_back({begin + at, uint32_t(std::min<uint64_t>(row_length, n - at)), file});
}

}  // namespace

int64_t TokenCorpus::n_places() const {
    int64_t n = 0;
    for (const Piece& piece : pieces) n += piece.n_places;
    return n;
}

Sha256Digest TokenCorpus::digest() const {
    Sha256 hash;
    hash.update(tokens.data(), tokens.size() * sizeof tokens[0]);
    hash.update(weights.data(), weights.size() * sizeof weights[0]);
    for (const Piece& piece : pieces) {
        const uint64_t fields[] = {piece.begin, piece.n_places, piece.file};
        hash.update(fields, sizeof fields);
    }
    return hash.finish();
}

Result<TokenizedTexts> tokenize_texts(const std::vector<TextFile>& files, const Tokenizer& tokenizer,
                                      const Recipe& recipe, ThreadPool& pool) {
    TokenizedTexts result;
    std::optional<int32_t> end = tokenizer.find(recipe.tokenizer.end);
    if (!end) end = tokenizer.special().eos;
    const uint32_t row_length = uint32_t(recipe.training.row_length);
    uint64_t number = 0;  // of the document in the whole corpus
    for (uint32_t f = 0; f < files.size(); ++f) {
        const std::vector<TextDocument>& documents = files[f].documents;
        result.training.file_weights.push_back(files[f].weight);
        result.held_out.file_weights.push_back(1.0);
        constexpr size_t kPerTask = 64;
        std::vector<Encoded> encoded(documents.size());
        const size_t n_tasks = (documents.size() + kPerTask - 1) / kPerTask;
        std::vector<std::string> errors(n_tasks);
        pool.run(int(n_tasks), [&](int task, int) {
            const size_t last = std::min(documents.size(), (size_t(task) + 1) * kPerTask);
            for (size_t i = size_t(task) * kPerTask; i < last; ++i) {
                Status done =
                    encode_document(documents[i], tokenizer, float(recipe.data.context_weight), end, encoded[i]);
                if (!done && errors[size_t(task)].empty())
                    errors[size_t(task)] =
                        fmt::format("{}: document {}: {}", files[f].path, i + 1, done.error().message);
            }
        });
        for (std::string& error : errors)
            if (!error.empty()) return std::unexpected(Error{ErrorCode::kBadFile, std::move(error)});
        for (const Encoded& document : encoded) {
            const bool held_out =
                files[f].held_out || uniform_at(recipe.training.seed, number++, kHeldOutStream) < recipe.data.held_out;
            append(held_out ? result.held_out : result.training, document, f, row_length);
        }
    }
    if (result.training.pieces.empty())
        return fail(ErrorCode::kBadFile, "{}: data.files hold nothing to train on", recipe.path);
    return result;
}

}  // namespace sterna::train
