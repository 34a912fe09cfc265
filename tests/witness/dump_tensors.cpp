// Writes all tensors of a GGUF file, decoded to little-endian floats, to standard output in file order: dump_tensors FILE.gguf
#include <algorithm>
#include <cstdio>
#include <vector>

#include "format/gguf.h"
#include "tensor/dtype.h"

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    auto file = sterna::GgufFile::open(argv[1]);
    if (!file) {
        std::fprintf(stderr, "%s\n", file.error().message.c_str());
        return 1;
    }
    std::vector<float> values;
    for (const sterna::TensorView& tensor : (*file)->tensors()) {
        const sterna::DTypeTraits* traits = sterna::dtype_traits(tensor.type);
        if (!traits->decode) continue;
        values.resize(size_t(tensor.n_elements()));
        traits->decode(tensor.data.data(), values.data(), tensor.n_elements());
        if (std::fwrite(values.data(), sizeof(float), values.size(), stdout) != values.size()) return 1;
    }
    return 0;
}
