// SHA-256 (FIPS 180-4), for identities and checksums. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace sterna {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
public:
    Sha256();
    void update(Bytes bytes);
    void update(const void* data, size_t n) { update({static_cast<const uint8_t*>(data), n}); }
    // Ends the computation. Requires: called once, last.
    Sha256Digest finish();

private:
    void compress(const uint8_t* blocks, size_t n);

    std::array<uint32_t, 8> state_;
    std::array<uint8_t, 64> buffer_;
    uint64_t n_bytes_ = 0;
};

std::string hex_text(Bytes bytes);

}  // namespace sterna
