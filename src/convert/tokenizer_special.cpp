// What stands beside a tokenizer's vocabulary: special ids, whether a text begins with bos, the chat template.
#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "convert/tokenizer_data.h"

namespace sterna {

namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMaxEndTokens = 64;

Result<Json> read_json(const std::string& path, TokenizerData& data) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return Json::object();
    STERNA_TRY(text, read_tokenizer_file(path));
    Json root = Json::parse(text, nullptr, false);
    if (root.is_object()) return root;
    data.warn(fmt::format("{}: no JSON object; left out", path));
    return Json::object();
}

// A special token is a text or an object with one.
std::string token_text(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_object())
        if (auto at = value.find("content"); at != value.end() && at->is_string()) return at->get<std::string>();
    return {};
}

class SpecialReader {
public:
    SpecialReader(const std::string& folder, TokenizerData& data) : folder_(folder), data_(data) {
        for (size_t id = 0; id < data.size(); ++id)
            if (!data.tokens[id].empty()) ids_.emplace(data.tokens[id], int64_t(id));
    }

    Status read() {
        STERNA_TRY(config, read_json(folder_ + "/tokenizer_config.json", data_));
        STERNA_TRY(map, read_json(folder_ + "/special_tokens_map.json", data_));
        STERNA_TRY(added, read_json(folder_ + "/added_tokens.json", data_));
        STERNA_TRY(generation, read_json(folder_ + "/generation_config.json", data_));
        STERNA_TRY(model, read_json(folder_ + "/config.json", data_));
        if (auto text = model.find("text_config"); text != model.end() && text->is_object()) model = Json(*text);

        for (auto& [text, id] : added.items())
            if (id.is_number_integer()) STERNA_CHECK(add(id.get<int64_t>(), text, looks_special(text)));
        if (auto list = config.find("added_tokens_decoder"); list != config.end() && list->is_object()) {
            for (auto& [number, token] : list->items()) {
                if (number.empty() || number.size() > 9 || number.find_first_not_of("0123456789") != number.npos)
                    continue;
                bool special = token.is_object() && token.value("special", Json(false)) == true;
                std::string text = token_text(token);
                if (!text.empty()) STERNA_CHECK(add(std::stol(number), text, special || looks_special(text)));
            }
        }
        read_names(map);
        read_names(config);
        read_numbers(generation, model);
        read_flags(config);
        add_turn_ends();
        add_fill_in_tokens();
        return read_templates(config);
    }

private:
    Status add(int64_t id, const std::string& text, bool special) {
        bool known = id >= 0 && size_t(id) < data_.size() && data_.tokens[size_t(id)] == text;
        TokenType type = special ? TokenType::kControl : TokenType::kUserDefined;
        if (known) {
            TokenType old = TokenType(data_.types[size_t(id)]);
            // tokenizer.json has been asked already; here is more to know about a SentencePiece or tiktoken vocabulary.
            if (old == TokenType::kNormal || (old == TokenType::kUserDefined && special))
                data_.types[size_t(id)] = int64_t(type);
            return {};
        }
        if (id >= 0 && size_t(id) < data_.size() && !data_.tokens[size_t(id)].empty()) {
            TokenType old = TokenType(data_.types[size_t(id)]);
            // User-defined tokens are kept with blanks, files have them with U+2581.
            if (old == TokenType::kControl || old == TokenType::kUserDefined || old == TokenType::kByte ||
                old == TokenType::kUnknown)
                return {};
        }
        if (ids_.contains(text)) return {};  // under another id: the vocabulary's counts
        STERNA_CHECK(data_.set(id, text, type, -1000.0));
        ids_[text] = id;
        return {};
    }

    void read_names(const Json& object) {
        constexpr std::pair<const char*, const char*> kNames[] = {
            {"bos_token", "bos"},     {"eos_token", "eos"},       {"unk_token", "unknown"},
            {"pad_token", "padding"}, {"sep_token", "separator"}, {"cls_token", "cls"},
            {"mask_token", "mask"},   {"eot_token", "eot"},       {"eom_token", "eom"}};
        for (auto& [theirs, ours] : kNames) {
            auto at = object.find(theirs);
            if (at == object.end()) continue;
            auto id = ids_.find(token_text(*at));
            if (id == ids_.end()) continue;
            data_.ids[ours] = id->second;
            mark_control(id->second, ours == std::string_view("unknown"));
        }
        if (auto more = object.find("additional_special_tokens"); more != object.end() && more->is_array())
            for (const Json& token : *more)
                if (auto id = ids_.find(token_text(token)); id != ids_.end()) mark_control(id->second, false);
    }

    void mark_control(int64_t id, bool unknown) {
        int64_t& type = data_.types[size_t(id)];
        if (type == int64_t(TokenType::kNormal) || type == int64_t(TokenType::kUserDefined))
            type = int64_t(unknown && data_.model != "gpt2" ? TokenType::kUnknown : TokenType::kControl);
    }

    void read_numbers(const Json& generation, const Json& model) {
        for (auto [theirs, ours] : {std::pair("bos_token_id", "bos"),
                                    {"eos_token_id", "eos"},
                                    {"pad_token_id", "padding"},
                                    {"sep_token_id", "separator"}}) {
            for (const Json* object : {&generation, &model}) {
                auto at = object->find(theirs);
                if (at == object->end()) continue;
                std::vector<int64_t> ids;
                if (at->is_number_integer()) ids.push_back(at->get<int64_t>());
                if (at->is_array())
                    for (const Json& id : *at)
                        if (id.is_number_integer() && ids.size() < kMaxEndTokens) ids.push_back(id.get<int64_t>());
                std::erase_if(ids, [&](int64_t id) { return id < 0 || size_t(id) >= data_.size(); });
                if (ids.empty()) continue;
                if (!data_.ids.contains(ours)) data_.ids[ours] = ids[0];
                if (ours == std::string_view("eos")) {
                    data_.end_ids = ids;
                    break;
                }
            }
        }
    }

    void read_flags(const Json& config) {
        auto flag = [&](const char* name) -> std::optional<bool> {
            auto at = config.find(name);
            return at != config.end() && at->is_boolean() ? std::optional(at->get<bool>()) : std::nullopt;
        };
        // A post-processor is what the fast tokenizer obeys; it has been read already.
        if (!data_.add_bos) data_.add_bos = flag("add_bos_token");
        if (!data_.add_eos) data_.add_eos = flag("add_eos_token");
        if (data_.model == "gpt2" && !data_.add_bos) data_.add_bos = false;
        if (auto blank = flag("add_prefix_space"); blank && data_.model == "llama" && !data_.add_space_prefix)
            data_.add_space_prefix = *blank;
        if (data_.model == "bert" && !data_.ids.contains("bos") && data_.ids.contains("cls"))
            data_.ids["bos"] = data_.ids["cls"];
    }

    // Of several tokens that end an answer the file has places for three.
    void add_turn_ends() {
        auto name = [&](int64_t id) { return std::string_view(data_.tokens[size_t(id)]); };
        for (int64_t id : data_.end_ids) {
            if (data_.ids.contains("eos") && data_.ids["eos"] == id) continue;
            const char* place = name(id).find("eom") != std::string_view::npos ? "eom" : "eot";
            if (!data_.ids.contains(place)) data_.ids[place] = id;
        }
        for (const char* text : {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|end_of_turn|>", "<EOT>"}) {
            auto id = ids_.find(text);
            if (id != ids_.end() && !data_.ids.contains("eot") &&
                data_.types[size_t(id->second)] == int64_t(TokenType::kControl))
                data_.ids["eot"] = id->second;
        }
        if (auto id = ids_.find("<|eom_id|>"); id != ids_.end() && !data_.ids.contains("eom"))
            data_.ids["eom"] = id->second;
    }

    void add_fill_in_tokens() {
        struct Place {
            const char* name;
            const char* spellings[6];
        };
        constexpr Place kPlaces[] = {
            {"fim_pre", {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"}},
            {"fim_suf", {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"}},
            {"fim_mid", {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"}},
            {"fim_pad", {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", nullptr}},
            {"fim_rep", {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", nullptr}},
            {"fim_sep", {"<|file_sep|>", nullptr}}};
        if (data_.model == "bert" || data_.model == "t5") return;
        bool fills = false;
        for (const Place& place : kPlaces) {
            for (const char* text : place.spellings) {
                auto id = text ? ids_.find(text) : ids_.end();
                if (id == ids_.end()) continue;
                // "<PAD>" alone says nothing about filling in.
                if (!fills && std::string_view(place.name) != "fim_pre") continue;
                fills = true;
                data_.ids[place.name] = id->second;
                break;
            }
        }
    }

    Status read_templates(const Json& config) {
        std::error_code error;
        if (std::string path = folder_ + "/chat_template.jinja"; fs::is_regular_file(path, error)) {
            STERNA_TRY(text, read_tokenizer_file(path));
            data_.chat_templates.emplace_back("", std::move(text));
        }
        STERNA_TRY(file, read_json(folder_ + "/chat_template.json", data_));
        for (const Json* object : {static_cast<const Json*>(&file), &config}) {
            auto at = object->find("chat_template");
            if (at == object->end()) continue;
            if (at->is_string()) add_template("", at->get<std::string>());
            if (!at->is_array()) continue;
            std::vector<std::string> names;
            for (const Json& one : *at) {
                if (!one.is_object() || !one.contains("name") || !one.contains("template") ||
                    !one["name"].is_string() || !one["template"].is_string())
                    continue;
                std::string name;
                for (char c : one["name"].get<std::string>())
                    name += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
                add_template(name == "default" ? "" : name, one["template"].get<std::string>());
            }
        }
        std::vector<std::string> more;
        for (fs::directory_iterator it(folder_ + "/additional_chat_templates", error), end; !error && it != end;
             it.increment(error))
            if (it->path().extension() == ".jinja") more.push_back(it->path().string());
        std::sort(more.begin(), more.end());
        for (const std::string& path : more) {
            STERNA_TRY(text, read_tokenizer_file(path));
            add_template(fs::path(path).stem().string(), std::move(text));
        }
        return {};
    }

    // The first of a name counts.
    void add_template(std::string name, std::string text) {
        for (auto& [known, other] : data_.chat_templates)
            if (known == name) return;
        data_.chat_templates.emplace_back(std::move(name), std::move(text));
    }

    const std::string& folder_;
    TokenizerData& data_;
    std::unordered_map<std::string, int64_t> ids_;
};

}  // namespace

Status read_special_tokens(const std::string& folder, TokenizerData& data) {
    return SpecialReader(folder, data).read();
}

}  // namespace sterna
