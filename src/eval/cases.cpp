#include "eval/cases.h"

#include <algorithm>

namespace sterna::eval {

namespace {

Result<std::string> read_text(const OrderedJson& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string()) return fail(ErrorCode::kBadFile, "{}: expected a text", key);
    return found->get<std::string>();
}

Result<ChatMessage> read_message(const OrderedJson& json) {
    if (!json.is_object()) return fail(ErrorCode::kBadFile, "messages: expected objects with role and content");
    ChatMessage message;
    STERNA_TRY(role, read_text(json, "role"));
    STERNA_TRY(content, read_text(json, "content"));
    message.role = std::move(role);
    message.content = std::move(content);
    return message;
}

// The check and the reference of an answer, from the object that holds them.
Status read_expectation(const OrderedJson& json, Turn& turn) {
    const auto check = json.find("check");
    if (check == json.end()) return fail(ErrorCode::kBadFile, "check: missing");
    if (!check->is_null()) {
        STERNA_TRY(parsed, parse_check(nlohmann::json(*check)));
        turn.check = std::move(parsed);
    }
    if (const auto reference = json.find("reference"); reference != json.end()) {
        if (!reference->is_string()) return fail(ErrorCode::kBadFile, "reference: expected a text");
        turn.reference = reference->get<std::string>();
        turn.has_reference = true;
    }
    return {};
}

Result<Case> parse_case(const OrderedJson& json, const CaseLimits& limits) {
    if (!json.is_object()) return fail(ErrorCode::kBadFile, "expected a JSON object");
    Case out;
    STERNA_TRY(id, read_text(json, "id"));
    STERNA_TRY(measure, read_text(json, "measure"));
    out.id = std::move(id);
    out.measure = std::move(measure);
    if (const auto tools = json.find("tools"); tools != json.end()) {
        if (!tools->is_array()) return fail(ErrorCode::kBadFile, "tools: expected a list");
        out.tools = *tools;
    }
    std::vector<ChatMessage> messages;
    const auto list = json.find("messages");
    if (list == json.end() || !list->is_array()) return fail(ErrorCode::kBadFile, "messages: expected a list");
    for (const auto& item : *list) {
        STERNA_TRY(message, read_message(item));
        messages.push_back(std::move(message));
    }
    const auto turns = json.find("turns");
    if (turns == json.end()) {
        Turn turn;
        turn.messages = std::move(messages);
        STERNA_CHECK(read_expectation(json, turn));
        if (turn.messages.empty()) return fail(ErrorCode::kBadFile, "messages: none");
        out.turns.push_back(std::move(turn));
        return out;
    }
    if (!turns->is_array() || turns->empty())
        return fail(ErrorCode::kBadFile, "turns: expected a list with at least one turn");
    if (turns->size() > limits.max_turns)
        return fail(ErrorCode::kLimit, "turns: {} of them, at most {} are allowed", turns->size(), limits.max_turns);
    for (const auto& item : *turns) {
        Turn turn;
        turn.messages = std::move(messages);
        messages.clear();
        STERNA_TRY(message, read_message(item));
        turn.messages.push_back(std::move(message));
        STERNA_CHECK(read_expectation(item, turn));
        out.turns.push_back(std::move(turn));
    }
    return out;
}

}  // namespace

Result<std::vector<Case>> parse_cases(std::string_view text, const std::string& path, const CaseLimits& limits) {
    if (text.size() > limits.max_file_bytes)
        return fail(ErrorCode::kLimit, "{}: {} bytes, at most {} are allowed", path, text.size(),
                    limits.max_file_bytes);
    std::vector<Case> out;
    for (size_t number = 1; !text.empty(); ++number) {
        const size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        // A callback keeps the parser from building what is nested too deeply; the parser itself does not recurse.
        bool too_deep = false;
        auto guard = [&](int depth, OrderedJson::parse_event_t, OrderedJson&) {
            too_deep = too_deep || depth > 64;
            return !too_deep;
        };
        const OrderedJson json = OrderedJson::parse(line, guard, false);
        if (json.is_discarded() || too_deep)
            return fail(ErrorCode::kBadFile, "{}:{}: {}", path, number, too_deep ? "nested too deeply" : "not JSON");
        auto parsed = parse_case(json, limits);
        if (!parsed) return fail(parsed.error().code, "{}:{}: {}", path, number, parsed.error().message);
        if (out.size() == limits.max_cases)
            return fail(ErrorCode::kLimit, "{}:{}: more than {} cases", path, number, limits.max_cases);
        out.push_back(std::move(*parsed));
    }
    if (out.empty()) return fail(ErrorCode::kBadFile, "{}: no cases", path);
    return out;
}

}  // namespace sterna::eval
