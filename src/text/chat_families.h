// The chat formats of model families whose files bring no template, and how to recognise them. Stateless.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace sterna {

struct ChatFamily {
    std::string_view name;
    std::string_view source;                     // Jinja
    std::array<std::string_view, 3> stop_texts;  // "" where there are fewer
};

std::span<const ChatFamily> chat_families();

// "" when nothing fits. `tokens` is the vocabulary.
std::string_view guess_chat_family(std::span<const std::string_view> tokens, std::string_view architecture,
                                   std::string_view name);

}  // namespace sterna
