// GPT-2 writes each byte as one printable character: those that are printable as themselves, the rest as U+0100 and up.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/utf8.h"

namespace sterna {

struct ByteAlphabet {
    std::array<uint16_t, 256> to_char{};
    std::array<int16_t, 0x144> to_byte{};

    constexpr ByteAlphabet() {
        to_byte.fill(-1);
        uint16_t next = 0x100;
        for (int b = 0; b < 256; ++b) {
            bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            to_char[size_t(b)] = printable ? uint16_t(b) : next++;
            to_byte[to_char[size_t(b)]] = int16_t(b);
        }
    }

    std::string spell(std::string_view bytes) const {
        std::string out;
        out.reserve(bytes.size() * 2);
        for (char c : bytes) append_utf8(out, to_char[uint8_t(c)]);
        return out;
    }
    // Nothing where a character is not of the alphabet.
    std::optional<std::string> read(std::string_view text) const {
        std::string out;
        out.reserve(text.size());
        for (size_t at = 0; at < text.size();) {
            Utf8Char c = decode_utf8(text, at);
            if (c.code_point >= to_byte.size() || to_byte[c.code_point] < 0) return std::nullopt;
            out += char(to_byte[c.code_point]);
            at += c.length;
        }
        return out;
    }
};
inline constexpr ByteAlphabet kByteAlphabet;

}  // namespace sterna
