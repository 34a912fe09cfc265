// Any bytes as a GGUF file: refused, or safe to read in every part.
#include <cstddef>
#include <cstdint>

#include "../corrupt/touch_gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    sterna::read_and_touch({data, size});
    return 0;
}
