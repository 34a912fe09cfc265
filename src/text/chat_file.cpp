#include "text/chat_file.h"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

namespace sterna {

namespace {

constexpr std::string_view kMagic = "STERNACH";

const std::string* text_in(const nlohmann::json& object, const char* key) {
    if (!object.is_object()) return nullptr;
    const auto at = object.find(key);
    return at == object.end() ? nullptr : at->get_ptr<const std::string*>();
}

}  // namespace

std::vector<uint8_t> write_chat(const ChatFile& chat) {
    OrderedJson json = {{"system", chat.system}, {"messages", OrderedJson::array()}};
    for (const ChatMessage& message : chat.messages)
        json["messages"].push_back({{"role", message.role}, {"content", message.content}});
    const std::string text = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
    const uint64_t n = text.size();
    std::vector<uint8_t> bytes(kMagic.size() + sizeof n + text.size() + chat.session.size());
    auto at = std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
    std::memcpy(&*at, &n, sizeof n);
    at = std::copy(text.begin(), text.end(), at + sizeof n);
    std::copy(chat.session.begin(), chat.session.end(), at);
    return bytes;
}

Result<ChatFile> read_chat(Bytes bytes, std::string_view name) {
    ByteReader reader(bytes);
    const auto magic = reader.read_text(kMagic.size());
    if (!magic || *magic != kMagic) return fail(ErrorCode::kBadFile, "{}: not a saved chat of Sterna", name);
    const auto n = reader.read<uint64_t>();
    const auto text = n ? reader.read_text(*n) : std::nullopt;
    if (!text) return fail(ErrorCode::kBadFile, "{}: ends within its list of messages, {} bytes", name, bytes.size());
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    const std::string* system = text_in(json, "system");
    const auto list = json.is_object() ? json.find("messages") : json.end();
    bool good = system && list != json.end() && list->is_array();
    ChatFile chat;
    if (good) {
        chat.system = *system;
        for (const auto& message : *list) {
            const std::string *role = text_in(message, "role"), *content = text_in(message, "content");
            good = good && role && content;
            if (good) chat.messages.push_back({*role, *content});
        }
    }
    if (!good) return fail(ErrorCode::kBadFile, "{}: its list of messages is broken", name);
    chat.session = bytes.subspan(reader.position());
    return chat;
}

}  // namespace sterna
