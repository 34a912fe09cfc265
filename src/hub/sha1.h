// SHA-1 (FIPS 180-4): git names small files by it. It protects against damage, not against forgery. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace sterna {

class Sha1 {
public:
    void update(Bytes bytes);
    void update(const void* data, size_t n) { update({static_cast<const uint8_t*>(data), n}); }
    // Ends the computation. Requires: called once, last.
    std::array<uint8_t, 20> finish();

private:
    void compress(const uint8_t* block);

    std::array<uint32_t, 5> state_ = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    std::array<uint8_t, 64> buffer_ = {};
    uint64_t n_bytes_ = 0;
};

}  // namespace sterna
