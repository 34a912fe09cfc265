#include "hub/sha1.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sterna {

void Sha1::compress(const uint8_t* block) {
    std::array<uint32_t, 80> w;
    for (size_t i = 0; i < 16; ++i)
        w[i] = uint32_t(block[4 * i]) << 24 | uint32_t(block[4 * i + 1]) << 16 | uint32_t(block[4 * i + 2]) << 8 |
               block[4 * i + 3];
    for (size_t i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    auto [a, b, c, d, e] = state_;
    for (size_t i = 0; i < 80; ++i) {
        uint32_t f, k;
        if (i < 20)
            f = (b & c) | (~b & d), k = 0x5a827999;
        else if (i < 40)
            f = b ^ c ^ d, k = 0x6ed9eba1;
        else if (i < 60)
            f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
        else
            f = b ^ c ^ d, k = 0xca62c1d6;
        const uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
        e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
    }
    state_[0] += a, state_[1] += b, state_[2] += c, state_[3] += d, state_[4] += e;
}

void Sha1::update(Bytes bytes) {
    while (!bytes.empty()) {
        const size_t used = n_bytes_ % 64, n = std::min(bytes.size(), 64 - used);
        std::memcpy(buffer_.data() + used, bytes.data(), n);
        n_bytes_ += n;
        bytes = bytes.subspan(n);
        if (used + n == 64) compress(buffer_.data());
    }
}

std::array<uint8_t, 20> Sha1::finish() {
    const uint64_t n_bits = n_bytes_ * 8;
    const uint8_t one = 0x80, zero = 0;
    update(&one, 1);
    while (n_bytes_ % 64 != 56) update(&zero, 1);
    std::array<uint8_t, 8> length;
    for (size_t i = 0; i < 8; ++i) length[i] = uint8_t(n_bits >> (56 - 8 * i));
    update(Bytes(length.data(), length.size()));
    std::array<uint8_t, 20> digest;
    for (size_t i = 0; i < 20; ++i) digest[i] = uint8_t(state_[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
}

}  // namespace sterna
