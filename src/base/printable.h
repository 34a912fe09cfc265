// Text from a file as it may appear in a message.
#pragma once

#include <string>
#include <string_view>

namespace sterna {

// At most 96 bytes, printable ASCII; what is longer ends in "...".
inline std::string printable(std::string_view text) {
    constexpr size_t kMaxShown = 96;
    std::string shown(text.substr(0, kMaxShown));
    for (char& c : shown)
        if (c < ' ' || c > '~') c = '?';
    if (text.size() > kMaxShown) shown += "...";
    return shown;
}

}  // namespace sterna
