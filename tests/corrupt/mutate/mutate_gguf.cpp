// Reads N mutated GGUF files and everything they offer:  mutate_gguf [N = 1000000] [seed = 1].
// Prints how many were accepted. Meant for long runs, also under sanitizers; a crash is a bug.
#include <cstdio>
#include <cstdlib>

#include "corrupt/mutate/gguf_mutator.h"
#include "corrupt/touch_gguf.h"

int main(int argc, char** argv) {
    const unsigned long long n = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000;
    const unsigned long long seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
    sterna::GgufMutator mutator(sterna::small_gguf(), seed);
    unsigned long long n_accepted = 0;
    for (unsigned long long i = 0; i < n; ++i) n_accepted += sterna::read_and_touch(mutator.next());
    std::printf("%llu inputs, %llu accepted\n", n, n_accepted);
    return n == 0 || n_accepted > 0 ? 0 : 1;  // none accepted would mean that nothing behind the header was tested
}
