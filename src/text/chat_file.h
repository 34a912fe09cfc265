// A chat as bytes: its messages, and the saved session that goes with them (engine/state_file.h), which is opaque here.
//
//   "STERNACH" | u64 bytes of JSON | JSON {"system": text, "messages": [{"role": text, "content": text}, ...]} | session
//
// Stateless.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "text/chat.h"

namespace sterna {

struct ChatFile {
    std::string system;
    std::vector<ChatMessage> messages;  // `extra` is not kept
    Bytes session;                      // Lifetime: of the bytes that were read
};

// Bytes that are no UTF-8 become U+FFFD.
std::vector<uint8_t> write_chat(const ChatFile& chat);
// Errors: kBadFile, which starts with `name`.
Result<ChatFile> read_chat(Bytes bytes, std::string_view name);

}  // namespace sterna
