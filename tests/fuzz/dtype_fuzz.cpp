// Any bytes as blocks of any type, and any floats through any encoder and back: inside the buffers, and finite when
// encoded.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tensor/dtype.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    if (size < 2) return 0;
    const DTypeTraits& type = all_dtypes()[data[0] % all_dtypes().size()];
    const bool encode = data[1] & 1, weighted = data[1] & 2;
    const Bytes bytes(data + 2, size - 2);
    if (!type.decode) return 0;
    const size_t block = size_t(type.block_size);
    if (!encode) {
        const std::vector<uint8_t> blocks(bytes.begin(), bytes.end() - long(bytes.size() % size_t(type.block_bytes)));
        const size_t n = blocks.size() / size_t(type.block_bytes) * block;
        std::vector<float> values(n);
        type.decode(blocks.data(), values.data(), int64_t(n));
        return 0;
    }
    // The floats of the input, repeated to fill a block.
    const size_t n_given = bytes.size() / 4;
    if (n_given == 0) return 0;
    const size_t n = (n_given + block - 1) / block * block;
    std::vector<float> x(n), weights(n);
    for (size_t i = 0; i < n; ++i) {
        std::memcpy(&x[i], bytes.data() + i % n_given * 4, 4);
        std::memcpy(&weights[i], bytes.data() + (i * 7 + 3) % n_given * 4, 4);
    }
    std::vector<uint8_t> blocks(size_t(*dtype_bytes(type.type, n)));
    type.encode(x.data(), blocks.data(), int64_t(n), weighted ? weights.data() : nullptr);
    std::vector<float> back(n);
    type.decode(blocks.data(), back.data(), int64_t(n));
    if (block > 1) {
        for (float value : back)
            if (!std::isfinite(value)) std::abort();
    }
    return 0;
}
