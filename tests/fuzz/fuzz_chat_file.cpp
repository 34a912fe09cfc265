// Any bytes as a saved chat: refused with a sentence, or read, and then written and read again the same.
#include <cstdlib>

#include "text/chat_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    auto require = [](bool held) {
        if (!held) std::abort();
    };
    const Bytes bytes(data, size);
    const auto chat = read_chat(bytes, "input");
    if (!chat) {
        require(chat.error().message.starts_with("input: ") && chat.error().message.size() < 1000);
        return 0;
    }
    require(chat->session.size() <= size && (chat->session.empty() || &chat->session.back() == &bytes.back()));
    const std::vector<uint8_t> written = write_chat(*chat);
    const auto again = read_chat(written, "again");
    require(again && again->system == chat->system && again->messages.size() == chat->messages.size());
    for (size_t i = 0; i < chat->messages.size(); ++i)
        require(again->messages[i].role == chat->messages[i].role &&
                again->messages[i].content == chat->messages[i].content);
    return 0;
}
