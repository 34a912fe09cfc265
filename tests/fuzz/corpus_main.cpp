// Runs a fuzz target without libFuzzer: over random bytes, and over the files of the folders named as arguments, each also cut short
// and with changed bytes.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// Each input is a heap block of its own exact size, so that a sanitizer sees one byte too far.
void run(std::vector<uint8_t> input) {
    input.shrink_to_fit();
    LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int argc, char** argv) {
    constexpr size_t kVariants = 256;  // of each kind for each file
    constexpr int kRandomInputs = 2000;
    size_t n_files = 0, n_inputs = kRandomInputs;
    std::mt19937 random(1);
    for (int i = 0; i < kRandomInputs; i++) {
        std::vector<uint8_t> input(random() % 512);
        // Small bytes reach further: as lengths and counts they are plausible.
        for (auto& byte : input) byte = uint8_t(i % 2 ? random() : random() % 8);
        run(input);
    }
    for (int i = 1; i < argc; i++) {
        std::error_code error;
        std::vector<std::filesystem::path> paths;
        for (auto& entry : std::filesystem::directory_iterator(argv[i], error)) paths.push_back(entry.path());
        std::sort(paths.begin(), paths.end());
        for (auto& path : paths) {
            std::ifstream file(path, std::ios::binary);
            std::vector<uint8_t> input{std::istreambuf_iterator<char>(file), {}};
            run(input);
            size_t step = std::max<size_t>(1, input.size() / kVariants);
            for (size_t at = 0; at < input.size(); at += step, n_inputs += 2) {
                run({input.begin(), input.begin() + long(at)});
                auto changed = input;
                changed[at] = uint8_t(changed[at] ^ (at % 3 == 0 ? 0xff : 1u << (at % 8)));
                run(changed);
            }
            n_files++, n_inputs++;
        }
    }
    std::printf("%zu files, %zu inputs\n", n_files, n_inputs);
}
