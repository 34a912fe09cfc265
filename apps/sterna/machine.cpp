#include "machine.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common.h"

namespace sterna {

namespace {

constexpr size_t kBufferBytes = size_t(512) << 20;  // larger than any last-level cache met so far
constexpr int kPasses = 5;

uint64_t read_all(const uint64_t* from, size_t n) {
    uint64_t sums[16] = {};
    for (size_t i = 0; i + 16 <= n; i += 16)
        for (size_t lane = 0; lane < 16; ++lane) sums[lane] += from[i + lane];
    uint64_t sum = 0;
    for (uint64_t part : sums) sum += part;
    return sum;
}

volatile uint64_t g_sink;

using PeakLoop = int (*)(int64_t rounds);

#if defined(__x86_64__)

// Twelve independent accumulators hide the latency of every instruction used here. Each loop ends in a value that depends on all
// of them, so nothing is optimized away; the empty asm keeps the compiler from folding rounds.
constexpr int kChains = 12;

__attribute__((target("avx2"))) int peak_avx2(int64_t rounds) {
    __m256i sums[kChains];
    for (auto& sum : sums) sum = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
    for (int64_t i = 0; i < rounds; ++i) {
        asm volatile("" : "+x"(a), "+x"(b));
        for (auto& sum : sums) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm256_xor_si256(sums[0], sums[i]);
    return _mm256_extract_epi32(sums[0], 0);
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) int peak_avx512(int64_t rounds) {
    __m512i sums[kChains];
    for (auto& sum : sums) sum = _mm512_setzero_si512();
    __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
    for (int64_t i = 0; i < rounds; ++i) {
        asm volatile("" : "+v"(a), "+v"(b));
        for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
    alignas(64) int32_t out[16];  // not _mm512_reduce_add_epi32: gcc 12 warns about its own header
    _mm512_store_si512(out, sums[0]);
    return out[0];
}

#endif

struct Peak {
    std::string_view isa;
    PeakLoop loop;
    double operations_per_round;
};

Peak find_peak(std::string_view isa) {
#if defined(__x86_64__)
    if (isa.starts_with("avx2")) return {isa, peak_avx2, kChains * 32 * 2.0};
    if (isa.starts_with("avx512")) return {isa, peak_avx512, kChains * 64 * 2.0};
#endif
    return {isa, nullptr, 0};
}

}  // namespace

double measure_read_bandwidth(ThreadPool& pool) {
    // calloc'ed pages would all map to one zero page; writing gives them memory.
    std::vector<uint64_t> buffer(kBufferBytes / 8, 1);
    const size_t part = buffer.size() / size_t(pool.size());
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
        std::vector<uint64_t> sums(size_t(pool.size()) * 8);
        const double start = now_seconds();
        pool.run(pool.size(),
                 [&](int task, int) { sums[size_t(task) * 8] = read_all(buffer.data() + size_t(task) * part, part); });
        const double seconds = now_seconds() - start;
        for (uint64_t sum : sums) g_sink = g_sink + sum;
        best = std::max(best, double(part) * 8 * pool.size() / seconds);
    }
    return best;
}

double measure_int8_peak(ThreadPool& pool, const char* isa) {
    const Peak peak = find_peak(isa);
    if (!peak.loop) return 0;
    constexpr int64_t kRounds = 4'000'000;
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
        const double start = now_seconds();
        pool.run(pool.size(), [&](int, int) { g_sink = g_sink + uint64_t(peak.loop(kRounds)); });
        best = std::max(best, peak.operations_per_round * double(kRounds) * pool.size() / (now_seconds() - start));
    }
    return best;
}

}  // namespace sterna
