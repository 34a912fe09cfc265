// Attention of one decoded token against a long cache: bytes of K and V per second beside the speed of plain reading,
// and arithmetic per second, for every kernel table. Times are the thread's processor time, the best of several runs;
// one thread.
//   bench_attention [positions, default 4096]
#include <time.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernels/kernels.h"

namespace {

using namespace sterna::kernels;

struct Free {
    void operator()(void* p) const { std::free(p); }
};
template <class T>
using Memory = std::unique_ptr<T[], Free>;

template <class T>
Memory<T> allocate(int64_t n) {
    size_t bytes = (size_t(n) * sizeof(T) + 4095) / 4096 * 4096;
    return Memory<T>(static_cast<T*>(std::aligned_alloc(4096, bytes)));
}

double seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

template <class F>
double best_seconds(int runs, F f) {
    double best = 1e30;
    for (int i = 0; i < runs; ++i) {
        double start = seconds();
        f();
        best = std::min(best, seconds() - start);
    }
    return best;
}

double read_bandwidth(const uint8_t* memory, int64_t bytes) {
    volatile uint64_t sink = 0;
    double time = best_seconds(4, [&] {
        uint64_t sums[16] = {};
        const uint64_t* words = reinterpret_cast<const uint64_t*>(memory);
        for (int64_t i = 0; i + 16 <= bytes / 8; i += 16) {
            for (int j = 0; j < 16; ++j) sums[j] += words[i + j];
        }
        for (uint64_t s : sums) sink = sink + s;
    });
    return double(bytes) / time;
}

constexpr int64_t kPagePositions = 32;
constexpr int64_t kBytes = 128 << 20;  // many KV heads: beyond every cache

void run(const Kernels& table, KvKind kind, int64_t head_dim, int64_t n_q, int64_t n_positions, uint8_t* memory,
         double bandwidth) {
    int64_t k_bytes = k_page_bytes(kind, kPagePositions, head_dim),
            page_bytes = k_bytes + v_page_bytes(kind, kPagePositions, head_dim);
    int64_t n_pages = n_positions / kPagePositions, n_heads = kBytes / (page_bytes * n_pages);
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> row(size_t(head_dim) * 2), q(size_t(n_q * head_dim)), out(q.size());
    std::vector<const uint8_t*> pages(size_t(n_pages * n_heads));
    for (size_t i = 0; i < pages.size(); ++i) {
        uint8_t* page = memory + int64_t(i) * page_bytes;
        pages[i] = page;
        if (i >= 4) {
            std::memcpy(page, pages[i & 3], size_t(page_bytes));
            continue;
        }
        for (int64_t slot = 0; slot < kPagePositions; ++slot) {
            for (float& x : row) x = normal(engine);
            table.kv_store(
                {kind, page, kPagePositions, slot, 0, k_bytes, head_dim, head_dim, row.data(), row.data() + head_dim});
        }
    }
    for (float& x : q) x = normal(engine);
    Memory<float> scratch = allocate<float>(attention_scratch_floats(head_dim, head_dim, n_q));
    auto attend = [&](int64_t head, int64_t end) {
        AttentionArgs args = {};
        args.kind = kind;
        args.pages = pages.data() + head * n_pages;
        args.page_positions = kPagePositions;
        args.v_offset = k_bytes;
        args.end = end;
        args.head_dim_k = args.head_dim_v = args.q_stride = args.out_stride = head_dim;
        args.n_q = n_q;
        args.q = q.data();
        args.out = out.data();
        args.scale = 1 / std::sqrt(float(head_dim));
        args.scratch = scratch.get();
        table.attention(args);
    };
    double cold = best_seconds(3, [&] {
        for (int64_t h = 0; h < n_heads; ++h) attend(h, n_positions);
    });
    constexpr int64_t kWarm = 256, kRepeats = 20;  // positions that fit the second-level cache
    double warm = best_seconds(9, [&] {
        for (int64_t i = 0; i < kRepeats; ++i) attend(0, kWarm);
    });
    double bytes = double(page_bytes) * double(n_pages * n_heads), flops = 4.0 * double(head_dim * n_q);
    std::printf(
        "%-7s %-4s head %3d, %d queries: %6.2f GB/s (%3.0f%% of reading), %6.1f GFLOP/s; from cache %6.1f GFLOP/s\n",
        table.name, kind == KvKind::kF16 ? "f16" : "q8_0", int(head_dim), int(n_q), bytes / cold * 1e-9,
        100 * bytes / cold / bandwidth, flops * double(n_positions * n_heads) / cold * 1e-9,
        flops * double(kWarm * kRepeats) / warm * 1e-9);
}

}  // namespace

int main(int argc, char** argv) {
    int64_t n_positions = argc > 1 ? std::atoll(argv[1]) : 4096;
    if (n_positions < 256 || n_positions > 65536 || n_positions % kPagePositions != 0) {
        std::fprintf(stderr, "positions: wanted a multiple of %d from 256 to 65536, found %s\n", int(kPagePositions),
                     argv[1]);
        return 2;
    }
    Memory<uint8_t> memory = allocate<uint8_t>(kBytes);
    std::memset(memory.get(), 1, kBytes);
    double bandwidth = read_bandwidth(memory.get(), kBytes);
    std::printf("reading: %.2f GB/s with one thread; %d positions\n", bandwidth * 1e-9, int(n_positions));
    KernelList tables = all();
    for (int i = 0; i < tables.n; ++i) {
        if (i == 0 && tables.n > 1) continue;  // the scalar table only where there is no other
        for (KvKind kind : {KvKind::kF16, KvKind::kQ8_0}) {
            for (int64_t head_dim : {64, 128}) {
                for (int64_t n_q : {1, 2, 4, 8})
                    run(*tables.tables[i], kind, head_dim, n_q, n_positions, memory.get(), bandwidth);
            }
        }
    }
    return 0;
}
