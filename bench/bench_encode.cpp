// How fast floats become blocks, and how near they stay, on one thread: bench_encode [TYPE,...] [--peer libggml-base.so]. With a peer (of
// llama.cpp; pip's llama-cpp-python has one), its encoders turn the same rows into blocks beside ours. Processor time per value, the
// best of kRuns; the error ratio is of our root mean square error to the peer's, weighted where weights were given.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include <dlfcn.h>

#include "tensor/dtype.h"

namespace {

using namespace sterna;

constexpr int64_t kRows = 48, kColumns = 2048;
constexpr int kRuns = 100;

using PeerEncode = size_t (*)(int type, const float* from, void* to, int64_t start, int64_t rows, int64_t columns,
                              const float* importance);

std::vector<float> normal_values(size_t n) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal(0.0f, 0.02f);
    std::vector<float> values(n);
    for (float& value : values) value = normal(random);
    return values;
}

struct Figures {
    double ns = 0.0, error = 0.0;
};

template <typename Encode>
Figures measure(const DTypeTraits& type, const std::vector<float>& values, const std::vector<float>& weights,
                bool weighted, Encode encode) {
    std::vector<uint8_t> blocks(size_t(*dtype_bytes(type.type, uint64_t(kRows * kColumns))));
    Figures figures;
    for (int run = 0; run < kRuns; ++run) {
        const clock_t start = clock();
        encode(blocks.data());
        const double ns = double(clock() - start) * (1e9 / CLOCKS_PER_SEC) / double(kRows * kColumns);
        figures.ns = run == 0 ? ns : std::min(figures.ns, ns);
    }
    std::vector<float> decoded(values.size());
    type.decode(blocks.data(), decoded.data(), kRows * kColumns);
    double total = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
        const double miss = double(decoded[i]) - double(values[i]);
        figures.error += miss * miss * (weighted ? double(weights[i % kColumns]) : 1.0);
        total += weighted ? double(weights[i % kColumns]) : 1.0;
    }
    figures.error = std::sqrt(figures.error / total);
    return figures;
}

}  // namespace

int main(int argc, char** argv) {
    std::string wanted, peer_path;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--peer") == 0 && i + 1 < argc)
            peer_path = argv[++i];
        else
            wanted = "," + std::string(argv[i]) + ",";
    }
    PeerEncode peer = nullptr;
    if (!peer_path.empty()) {
        void* library = dlopen(peer_path.c_str(), RTLD_NOW);
        peer = library ? reinterpret_cast<PeerEncode>(dlsym(library, "ggml_quantize_chunk")) : nullptr;
        if (!peer) {
            fprintf(stderr, "%s: no ggml_quantize_chunk: %s\n", peer_path.c_str(), dlerror());
            return 1;
        }
    }
    const std::vector<float> values = normal_values(size_t(kRows * kColumns));
    std::vector<float> weights = normal_values(size_t(kColumns));
    for (float& weight : weights) weight = weight * weight + 0.1f;
    printf(
        "| type | plain ns/value | peer | error ratio | weighted ns/value | peer | error ratio "
        "|\n|---|---|---|---|---|---|---|\n");
    for (const DTypeTraits& type : all_dtypes()) {
        if (!type.encode || type.block_size < 2) continue;
        if (!wanted.empty() && wanted.find("," + std::string(type.name) + ",") == std::string::npos) continue;
        printf("| %s |", std::string(type.name).c_str());
        for (bool weighted : {false, true}) {
            const Figures ours = measure(type, values, weights, weighted, [&](uint8_t* to) {
                const size_t row_bytes = size_t(*dtype_bytes(type.type, uint64_t(kColumns)));
                for (int64_t row = 0; row < kRows; ++row)
                    type.encode(values.data() + row * kColumns, to + size_t(row) * row_bytes, kColumns,
                                weighted ? weights.data() : nullptr);
            });
            if (!peer) {
                printf(" %.1f | | |", ours.ns);
                continue;
            }
            const Figures theirs = measure(type, values, weights, weighted, [&](uint8_t* to) {
                peer(int(type.type), values.data(), to, 0, kRows, kColumns, weighted ? weights.data() : nullptr);
            });
            printf(" %.1f | %.1f | %.3f |", ours.ns, theirs.ns, ours.error / theirs.error);
        }
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
