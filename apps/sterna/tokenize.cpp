// sterna tokenize: text to ids and back (docs/tokenize.md).
#include <memory>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "common.h"
#include "hub_model.h"
#include "shipped_model.h"
#include "text/tokenizer.h"

namespace sterna {

namespace {

struct Options {
    std::string model;
    bool ids = false, no_special = false, parse_special = false, decode = false, json = false;
};

Result<std::vector<TokenId>> parse_ids(std::string_view text, size_t vocab_size) {
    std::vector<TokenId> ids;
    for (size_t at = 0; at < text.size();) {
        if (std::string_view(" \t\r\n,").find(text[at]) != std::string_view::npos) {
            ++at;
            continue;
        }
        size_t end = std::min(text.find_first_of(" \t\r\n,", at), text.size());
        std::string_view word = text.substr(at, end - at);
        int64_t id = 0;
        for (char c : word) {
            if (c < '0' || c > '9' || id > int64_t(vocab_size))
                return fail(ErrorCode::kBadArgument, "\"{}\": not a token id below {}", word, vocab_size);
            id = id * 10 + (c - '0');
        }
        if (id >= int64_t(vocab_size))
            return fail(ErrorCode::kBadArgument, "{}: the vocabulary has {} tokens", id, vocab_size);
        ids.push_back(TokenId(id));
        at = end;
    }
    return ids;
}

Result<int> tokenize(const Options& options) {
    STERNA_TRY(path, find_model(options.model));
    STERNA_TRY(file, open_gguf(path));
    STERNA_TRY(tokenizer, Tokenizer::from_metadata(*file));
    STERNA_TRY(text, read_stdin());
    if (options.decode) {
        STERNA_TRY(ids, parse_ids(text, tokenizer->vocab_size()));
        std::string decoded = tokenizer->decode(ids, options.parse_special);
        std::fwrite(decoded.data(), 1, decoded.size(), stdout);
        return 0;
    }
    EncodeOptions encode;
    encode.add_special = !options.no_special;
    encode.parse_special = options.parse_special;
    STERNA_TRY(ids, tokenizer->encode(text, encode));
    std::string out;
    if (options.json) {
        out += '[';
        for (size_t i = 0; i < ids.size(); ++i)
            out += fmt::format("{}{{\"id\":{},\"text\":{}}}", i ? "," : "", ids[i],
                               json_quote(tokenizer->token_bytes(ids[i], true)));
        out += "]\n";
    } else if (options.ids) {
        for (size_t i = 0; i < ids.size(); ++i) out += fmt::format("{}{}", i ? " " : "", ids[i]);
        out += '\n';
    } else {
        for (TokenId id : ids) out += fmt::format("{:7} {}\n", id, json_quote(tokenizer->token_bytes(id, true)));
    }
    std::fwrite(out.data(), 1, out.size(), stdout);
    return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("tokenize", "Text from standard input to token ids, and back");
    sub->add_option("model", options->model, "a GGUF file; a vocabulary alone is enough")->required();
    sub->add_flag("--ids", options->ids, "print only the ids, separated by blanks");
    sub->add_flag("--no-special", options->no_special, "without the begin and end tokens that the model adds");
    sub->add_flag("--parse-special", options->parse_special, "control tokens spelled in the text become those tokens");
    sub->add_flag("--decode", options->decode, "standard input holds ids; print their text");
    sub->add_flag("--json", options->json, "print a JSON array");
    sub->callback([options, &command] { command = [options] { return tokenize(*options); }; });
}

}  // namespace sterna
