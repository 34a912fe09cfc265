#include "machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__linux__) && __GNUC__ >= 11
#define STERNA_HAVE_AMX_LOOP
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace sterna {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// Where results go, so that no loop is optimized away. Each thread adds to one of its own.
volatile uint64_t g_sink;

uint64_t read_plain(const uint8_t* data, size_t n) {
    const uint64_t* at = reinterpret_cast<const uint64_t*>(data);
    uint64_t sum[8] = {};
    for (size_t i = 0; i < n / 8; i += 8)
        for (size_t k = 0; k < 8; ++k) sum[k] ^= at[i + k];
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) uint64_t read_avx2(const uint8_t* data, size_t n) {
    const __m256i* at = reinterpret_cast<const __m256i*>(data);
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < n / 32; i += 4) {
        a = _mm256_xor_si256(a, _mm256_load_si256(at + i));
        b = _mm256_xor_si256(b, _mm256_load_si256(at + i + 1));
        c = _mm256_xor_si256(c, _mm256_load_si256(at + i + 2));
        d = _mm256_xor_si256(d, _mm256_load_si256(at + i + 3));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return uint64_t(_mm256_extract_epi64(a, 0) ^ _mm256_extract_epi64(a, 3));
}

// Independent accumulators hide the latency of every instruction used here. Each loop ends in a value that depends on all of them;
// the empty asm keeps the compiler from folding rounds.
constexpr int kChains = 12;

__attribute__((target("avx2"))) int peak_avx2(int64_t rounds) {
    __m256i sums[kChains];
    for (auto& sum : sums) sum = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
    for (int64_t i = 0; i < rounds; ++i) {
        asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12  // else gcc keeps the sums in memory
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
#pragma GCC unroll 12
        for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
    alignas(64) int32_t out[16];  // not _mm512_reduce_add_epi32: gcc 12 warns about its own header
    _mm512_store_si512(out, sums[0]);
    return out[0];
}

#if defined(STERNA_HAVE_AMX_LOOP)
struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t columns[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

bool amx_allowed() {
    unsigned a = 7, b = 0, c = 0, d = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;
    constexpr long kRequestTiles = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return (d & kAmxTile) && (d & kAmxInt8) && syscall(SYS_arch_prctl, kRequestTiles, kTileData) == 0;
}

__attribute__((target("amx-tile,amx-int8"))) int peak_amx(int64_t rounds) {
    TileConfig config;
    alignas(64) uint8_t tile[1024] = {1};
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, tile, 64);
    _tile_loadd(5, tile, 64);
    _tile_loadd(6, tile, 64);
    _tile_loadd(7, tile, 64);
    for (int64_t i = 0; i < rounds; ++i) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(0, tile, 64);
    _tile_release();
    return tile[0];
}
#endif
#endif

struct Peak {
    std::string_view name;
    int (*loop)(int64_t rounds) = nullptr;
    double operations_per_round = 0;
};

// The densest loop that both the kernel table of this name ("": any) and this CPU have.
Peak find_peak(std::string_view isa) {
#if defined(__x86_64__)
    const bool any = isa.empty();
#if defined(STERNA_HAVE_AMX_LOOP)
    if ((any || isa.starts_with("amx")) && amx_allowed()) return {"amx", peak_amx, 4 * 16 * 16 * 64 * 2.0};
#endif
    if ((any || isa.starts_with("avx512")) && __builtin_cpu_supports("avx512vnni"))
        return {"avx512vnni", peak_avx512, kChains * 64 * 2.0};
    if ((any || isa.starts_with("avx2")) && __builtin_cpu_supports("avx2"))
        return {"avx2", peak_avx2, kChains * 32 * 2.0};
#endif
    (void)isa;
    return {"none"};
}

using ReadLoop = uint64_t (*)(const uint8_t* data, size_t n);

ReadLoop find_read() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return read_avx2;
#endif
    return read_plain;
}

}  // namespace

double measure_read_bandwidth(ThreadPool& pool, double seconds) {
    constexpr size_t kBytes = size_t(1) << 30;  // larger than any last-level cache met so far
    const std::unique_ptr<uint8_t, decltype(&std::free)> buffer(static_cast<uint8_t*>(std::aligned_alloc(4096, kBytes)),
                                                                &std::free);
    if (!buffer) return 0;
    // Untouched pages would all map to one zero page; writing gives them memory.
    auto* words = reinterpret_cast<uint64_t*>(buffer.get());
    for (size_t i = 0; i < kBytes / 8; ++i) words[i] = i;
    const ReadLoop read = find_read();
    const size_t part = kBytes / size_t(pool.size()) / 4096 * 4096;
    double best = 0;
    for (const auto begin = Clock::now(); best == 0 || seconds_since(begin) < seconds;) {
        std::vector<uint64_t> sums(size_t(pool.size()) * 8);
        const auto start = Clock::now();
        pool.run(pool.size(),
                 [&](int task, int) { sums[size_t(task) * 8] = read(buffer.get() + size_t(task) * part, part); });
        best = std::max(best, double(part) * pool.size() / seconds_since(start));
        for (uint64_t sum : sums) g_sink = g_sink + sum;
    }
    return best;
}

double measure_int8_peak(ThreadPool& pool, std::string_view isa, double seconds) {
    const Peak peak = find_peak(isa);
    if (!peak.loop) return 0;
    constexpr int64_t kRounds = 400'000;
    double best = 0;
    for (const auto begin = Clock::now(); best == 0 || seconds_since(begin) < seconds;) {
        std::vector<uint64_t> sums(size_t(pool.size()) * 8);
        const auto start = Clock::now();
        pool.run(pool.size(), [&](int task, int) { sums[size_t(task) * 8] = uint64_t(peak.loop(kRounds)); });
        best = std::max(best, peak.operations_per_round * double(kRounds) * pool.size() / seconds_since(start));
        for (uint64_t sum : sums) g_sink = g_sink + sum;
    }
    return best;
}

std::string_view int8_peak_name(std::string_view isa) {
    return find_peak(isa).name;
}

}  // namespace sterna
