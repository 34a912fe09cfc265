// bench_matmul [seconds per figure [type [table]]]: every weight kind on every table of this CPU, beside what the
// machine can do.
//   decode: GB/s of packed weights read for one token: from memory with 1 and with 2 threads, and from the cache
//
//   prefill: Gmac/s for 128 tokens, 1 thread
//
// The best of at least five passes. One thread is measured in processor time, so that a busy machine disturbs less; two
// in wall-clock time. Weights are random bytes: speed does not depend on values.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "kernels/matmul_support.h"

using namespace sterna;
using namespace sterna::testing;

namespace {

double g_seconds = 0.3;

double clock_seconds(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

template <typename F>
double best_seconds(const ThreadPool& pool, F&& f) {
    const clockid_t clock = pool.size() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double best = 1e9;
    const double start = clock_seconds(clock);
    for (int pass = 0; pass < 5 || clock_seconds(clock) - start < g_seconds; ++pass) {
        const double t = clock_seconds(clock);
        f();
        best = std::min(best, clock_seconds(clock) - t);
    }
    return best;
}

// Sums 64-byte lines in four independent streams of additions.
uint64_t read_all(const uint8_t* p, size_t n) {
    using V = uint64_t __attribute__((vector_size(32)));
    V a{}, b{}, c{}, d{};
    for (size_t i = 0; i + 128 <= n; i += 128) {
        V x[4];
        std::memcpy(x, p + i, 128);
        a += x[0], b += x[1], c += x[2], d += x[3];
    }
    a += b + c + d;
    return a[0] + a[1] + a[2] + a[3];
}

double read_bandwidth(ThreadPool& pool, const std::vector<uint8_t>& bytes) {
    const size_t part = bytes.size() / size_t(pool.size());
    volatile uint64_t sink = 0;
    const double s = best_seconds(pool, [&] {
        pool.run(pool.size(), [&](int i, int) { sink = sink + read_all(bytes.data() + size_t(i) * part, part); });
    });
    return double(bytes.size()) / s * 1e-9;
}

void multiply(const kernels::Kernels& k, const PackedMatrix& w, const Acts& x, ThreadPool& pool,
              std::vector<float>& out, std::vector<uint8_t*>& scratch) {
    const int64_t per_task = pool.size() == 1 ? w.n_panels() : std::max<int64_t>(1, w.n_panels() / (pool.size() * 8));
    pool.run(int((w.n_panels() + per_task - 1) / per_task), [&](int task, int worker) {
        const int64_t begin = task * per_task, end = std::min(w.n_panels(), begin + per_task);
        k.matmul[int(w.kind())]({w.data(), w.panel_bytes(), begin, end, w.n_rows(), w.n_cols(), x.view(), x.n_tokens,
                                 out.data(), w.n_rows(), scratch[size_t(worker)]});
    });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) g_seconds = std::atof(argv[1]);
    const char* only = argc > 2 ? argv[2] : "";
    const char* table_name = argc > 3 ? argv[3] : "";
    ThreadPool one(1), two(2);
    std::vector<uint8_t*> scratch;
    for (int i = 0; i < 2; ++i)
        scratch.push_back(static_cast<uint8_t*>(std::aligned_alloc(64, kernels::kMatmulScratchBytes)));
    {
        std::vector<uint8_t> big(size_t(256) << 20, 1);
        std::printf("read bandwidth: %.1f GB/s with 1 thread, %.1f GB/s with 2\n", read_bandwidth(one, big),
                    read_bandwidth(two, big));
    }
    // 4096 columns: 256 rows stay in the second-level cache or near it; kLargeBytes do not fit the third.
    constexpr int64_t kCols = 4096, kCacheRows = 256, kTokens = 128, kLargeBytes = 192 << 20;
    std::printf("%-7s %-7s | decode GB/s: 1 thread, 2 threads, cached | 4 tokens cached | prefill Gmac/s\n", "type",
                "table");
    for (DType type : kMatmulTypes) {
        if (*only && dtype_traits(type)->name != only) continue;
        const FileMatrix file = make_matrix(type, kCacheRows, kCols, Values::kRandom, 1);
        // Repeats the same rows: the memory is distinct.
        FileMatrix large = file;
        if (type == DType::kMXFP4)  // exponents that do not make subnormal numbers, which would be slow
            for (size_t at = 0; at < file.bytes.size(); at += sizeof(BlockMXFP4)) large.bytes[at] = 120;
        const std::vector<uint8_t> rows = large.bytes;
        const int64_t n_rows = (kLargeBytes / int64_t(rows.size()) + 1) * kCacheRows;
        for (int64_t have = kCacheRows; have < n_rows; have += kCacheRows)
            large.bytes.insert(large.bytes.end(), rows.begin(), rows.end());
        large.n_rows = n_rows;
        // As packing does, copying writes to fresh memory.
        const double copying = best_seconds(one, [&] { std::vector<uint8_t> copy(large.bytes); });
        const double packing = best_seconds(one, [&] {
            PackArena fresh;
            (void)PackedMatrix::pack(large.view(), one, fresh);
        });
        PackArena arena;
        auto big = PackedMatrix::pack(large.view(), two, arena),
             small = PackedMatrix::pack(FileMatrix{type, kCacheRows, kCols, rows}.view(), two, arena);
        if (!big || !small) return 1;
        std::vector<float> out(size_t(std::max(n_rows, kTokens * kCacheRows)));
        for (int i = kernels::all().n - 1; i >= 0; --i) {
            const kernels::Kernels& k = *kernels::all().tables[i];
            if (*table_name ? std::strcmp(k.name, table_name) != 0 : std::strcmp(k.name, "scalar") == 0) continue;
            const auto kind = kernels::act_kind(big->kind());
            const Acts x1 = quantize(k, kind, random_values(kCols, 1), 1, kCols);
            const Acts x4 = quantize(k, kind, random_values(4 * kCols, 1), 4, kCols);
            const Acts x = quantize(k, kind, random_values(size_t(kTokens * kCols), 1), kTokens, kCols);
            auto rate = [&](const PackedMatrix& w, const Acts& acts, ThreadPool& pool) {
                return double(w.bytes()) * 1e-9 / best_seconds(pool, [&] { multiply(k, w, acts, pool, out, scratch); });
            };
            const double macs_per_byte = double(kCacheRows) * kCols * kTokens / double(small->bytes());
            const double memory1 = rate(*big, x1, one), memory2 = rate(*big, x1, two), cached = rate(*small, x1, one),
                         four = rate(*small, x4, one);
            std::printf("%-7.*s %-7s | %10.1f %10.1f %10.1f | %10.1f | %10.1f   (packing takes %.2f x copying)\n",
                        int(dtype_traits(type)->name.size()), dtype_traits(type)->name.data(), k.name, memory1, memory2,
                        cached, four, rate(*small, x, one) * macs_per_byte, packing / copying);
            std::fflush(stdout);
        }
    }
    for (uint8_t* p : scratch) std::free(p);
}
