// Measures what this machine can do at best, for comparison with what an engine reaches: reading memory, and multiplying int8.
//
//     machine [SECONDS]    prints one JSON object: {"threads": [1, 2], "read_gbs": [...], "int8_tops": [...], "int8_by": "avx2"}
//
// Read: plain vector loads of a buffer far larger than any cache, each thread its own part. int8: the densest multiply-add
// instruction the CPU has, on registers. Numbers are the best of several short runs, since other guests share the machine.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// Runs work(thread) on n threads at once. Returns: seconds until all are done.
template <typename Work>
double timed(int n, Work work) {
    auto start = Clock::now();
    std::vector<std::thread> threads;
    for (int i = 1; i < n; ++i) threads.emplace_back(work, i);
    work(0);
    for (auto& thread : threads) thread.join();
    return seconds_since(start);
}

#ifdef __x86_64__
#define STERNA_TARGET(isa) __attribute__((target(isa), noinline))

STERNA_TARGET("avx2") uint64_t read_part(const uint8_t* data, size_t n) {
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

// Each returns int8 operations done (a multiply and an add are two). Ten or twelve sums hide the latency.
STERNA_TARGET("avx2") double int8_avx2(int64_t rounds, volatile int* sink) {
    __m256i sum[10], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
    for (auto& s : sum) s = _mm256_setzero_si256();
    for (int64_t i = 0; i < rounds; ++i) {
        for (auto& s : sum) {
            asm volatile("" : "+x"(y));  // or one product would serve all sums
            s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
        }
    }
    for (auto& s : sum) *sink = *sink + _mm256_extract_epi32(s, 0);
    return double(rounds) * 10 * 32 * 2;
}

STERNA_TARGET("avx512f,avx512bw,avx512vnni") double int8_avx512(int64_t rounds, volatile int* sink) {
    __m512i sum[12], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(5);
    for (auto& s : sum) s = _mm512_setzero_si512();
    for (int64_t i = 0; i < rounds; ++i) {
        for (auto& s : sum) s = _mm512_dpbusd_epi32(s, x, y);
        asm volatile("" : "+v"(x), "+v"(y));
    }
    for (auto& s : sum) *sink = *sink + _mm512_cvtsi512_si32(s);
    return double(rounds) * 12 * 64 * 2;
}

#if defined(__linux__) && __GNUC__ >= 11
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

STERNA_TARGET("amx-tile,amx-int8") double int8_amx(int64_t rounds, volatile int* sink) {
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
    *sink = *sink + tile[0];
    _tile_release();
    return double(rounds) * 4 * 16 * 16 * 64 * 2;
}
#endif
#else
uint64_t read_part(const uint8_t* data, size_t n) {
    const uint64_t* at = reinterpret_cast<const uint64_t*>(data);
    uint64_t sum[8] = {};
    for (size_t i = 0; i < n / 8; i += 8)
        for (size_t k = 0; k < 8; ++k) sum[k] ^= at[i + k];
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}
#endif

using Int8Loop = double (*)(int64_t rounds, volatile int* sink);

struct Int8 {
    const char* name;
    Int8Loop loop;  // null: not measured on this CPU
};

Int8 best_int8() {
#ifdef __x86_64__
#if defined(__linux__) && __GNUC__ >= 11
    if (amx_allowed()) return {"amx", int8_amx};
#endif
    if (__builtin_cpu_supports("avx512vnni")) return {"avx512vnni", int8_avx512};
    if (__builtin_cpu_supports("avx2")) return {"avx2", int8_avx2};
#endif
    return {"none", nullptr};
}

double read_gbs(const uint8_t* data, size_t n, int n_threads, double seconds) {
    double best = 0;
    size_t part = n / size_t(n_threads) / 4096 * 4096;
    for (auto start = Clock::now(); seconds_since(start) < seconds;) {
        double took = timed(n_threads, [&](int i) {
            volatile uint64_t sink = read_part(data + size_t(i) * part, part);
            (void)sink;
        });
        best = std::max(best, double(part) * n_threads / took / 1e9);
    }
    return best;
}

double int8_tops(Int8Loop loop, int n_threads, double seconds) {
    if (!loop) return 0;
    double best = 0;
    constexpr int64_t kRounds = 400000;
    for (auto start = Clock::now(); seconds_since(start) < seconds;) {
        std::vector<double> done(static_cast<size_t>(n_threads));
        double took = timed(n_threads, [&](int i) {
            volatile int sink = 0;
            done[size_t(i)] = loop(kRounds, &sink);
        });
        double sum = 0;
        for (double d : done) sum += d;
        best = std::max(best, sum / took / 1e12);
    }
    return best;
}

}  // namespace

int main(int argc, char** argv) {
    double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;  // of each measurement
    constexpr size_t kBytes = size_t(1) << 30;
    uint8_t* data = static_cast<uint8_t*>(std::aligned_alloc(4096, kBytes));
    if (!data) {
        std::fputs("machine: no memory for a buffer of 1 GiB\n", stderr);
        return 1;
    }
    for (size_t i = 0; i < kBytes; i += 8) *reinterpret_cast<uint64_t*>(data + i) = i;
    int n_cores = std::max(1, int(std::thread::hardware_concurrency()));
    std::vector<int> threads{1};
    if (n_cores > 1) threads.push_back(n_cores);
    Int8 int8 = best_int8();
    auto print = [&](const char* name, auto value) {
        std::printf("\"%s\": [", name);
        for (size_t i = 0; i < threads.size(); ++i) std::printf("%s%.4g", i ? ", " : "", double(value(threads[i])));
        std::printf("], ");
    };
    std::printf("{");
    print("threads", [](int n) { return n; });
    print("read_gbs", [&](int n) { return read_gbs(data, kBytes, n, seconds); });
    print("int8_tops", [&](int n) { return int8_tops(int8.loop, n, seconds); });
    std::printf("\"int8_by\": \"%s\"}\n", int8.name);
    std::free(data);
    return 0;
}
