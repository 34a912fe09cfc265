// vocab.json and merges.txt, the files of byte-level BPE before tokenizer.json: what transformers' tokenizer classes add to them
// is written as the tokenizer.json that they would save.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "convert/tokenizer_data.h"

namespace sterna {

namespace {

using Json = nlohmann::json;

Result<Json> read_json(const std::string& path) {
    STERNA_TRY(text, read_tokenizer_file(path));
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return fail(ErrorCode::kBadFile, "{}: no JSON object", path);
    return json;
}

// "GPT2TokenizerFast" and "GPT2Tokenizer" are one.
std::string class_of(const Json& config) {
    const auto at = config.find("tokenizer_class");
    std::string name = at != config.end() && at->is_string() ? at->get<std::string>() : "GPT2Tokenizer";
    if (name.ends_with("Fast")) name.resize(name.size() - 4);
    return name;
}

Json byte_level(bool prefix, bool splits) {
    return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", splits}};
}

Result<Json> read_merges(const std::string& path) {
    STERNA_TRY(text, read_tokenizer_file(path));
    Json merges = Json::array();
    for (size_t begin = 0, line = 1; begin < text.size(); ++line) {
        size_t end = std::min(text.find('\n', begin), text.size());
        std::string_view pair = std::string_view(text).substr(begin, end - begin);
        begin = end + 1;
        if (pair.ends_with('\r')) pair.remove_suffix(1);
        if (pair.empty() || (line == 1 && pair.starts_with("#version"))) continue;
        const size_t blank = pair.find(' ');
        if (blank == 0 || blank == pair.size() - 1 || blank == std::string_view::npos ||
            pair.find(' ', blank + 1) != std::string_view::npos)
            return fail(ErrorCode::kBadFile, "{}:{}: expected two tokens with a blank between them", path, line);
        merges.push_back(std::string(pair));
    }
    return merges;
}

}  // namespace

Status read_vocab_and_merges(const std::string& folder, TokenizerData& data) {
    const std::string vocab_path = folder + "/vocab.json", config_path = folder + "/tokenizer_config.json";
    STERNA_TRY(vocab, read_json(vocab_path));
    STERNA_TRY(merges, read_merges(folder + "/merges.txt"));
    Json config = Json::object();
    if (auto read = read_json(config_path)) config = std::move(*read);  // read_special_tokens() warns of a broken one
    const std::string name = class_of(config);
    const auto prefix = config.find("add_prefix_space");
    Json json = {{"model", {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}}},
                 {"decoder", byte_level(true, true)}};
    if (name == "GPT2Tokenizer") {
        json["pre_tokenizer"] = byte_level(prefix != config.end() && *prefix == true, true);
    } else if (name == "Qwen2Tokenizer") {
        json["normalizer"] = {{"type", "NFC"}};
        const Json split = {{"type", "Split"},
                            {"pattern", {{"Regex", pretokenizer_steps("qwen2")->front()}}},
                            {"behavior", "Isolated"},
                            {"invert", false}};
        json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, byte_level(false, false)}}};
    } else {
        return fail(ErrorCode::kUnsupported,
                    "{}: tokenizer_class {}: vocab.json and merges.txt are read for GPT2Tokenizer and Qwen2Tokenizer; "
                    "others need tokenizer.json",
                    config_path, name.substr(0, 80));
    }
    return read_tokenizer_json(json.dump(-1, ' ', false, Json::error_handler_t::replace), vocab_path, data);
}

}  // namespace sterna
