// Training speed of one network on random tokens, and the machine's peak (float32, or AMX-bf16) in the same run: bench/train_speed.py
// starts it beside PyTorch.
//   train_speed KIND VOCAB WIDTH LAYERS HEADS KV_HEADS HEAD_DIM FFN ROWS LENGTH THREADS SECONDS [bf16 | int8-gradients]
// Steps until SECONDS have passed, at least three, after one that does not count; prints the median as JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "train/net_kernels.h"
#include "train/optimizer.h"

namespace {

using namespace sterna;
using namespace sterna::train;
using Clock = std::chrono::steady_clock;

// Processor time of all threads: on a shared machine, what one thread would need alone.
double processor_seconds() {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int64_t kRows = 12, kColumns = 16, kTerms = 256, kRepeats = 10000;

// A product whose operands stay in the L1 cache: no other loop of this program does better.
double float_work(float* a) {
    float* b = a + kRows * kTerms;
    float* c = b + kColumns * kTerms;
    for (int64_t i = 0; i < kRepeats; ++i)
        active_kernels().gemm(
            {kRows, kColumns, kTerms, a, 1, kPanelRows, kTerms * kPanelRows, b, kTerms, kColumns, c, kColumns, false});
    return 2.0 * kRows * kColumns * kTerms * kRepeats;
}

#if defined(__x86_64__)
// Products of AMX-bf16 tiles that stay in their registers: two by two, the others the sums.
__attribute__((target("amx-tile,amx-bf16"))) double tile_work(float*) {
    alignas(64) uint8_t config[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = 16;
    }
    _tile_loadconfig(config);
    for (int64_t i = 0; i < 100 * kRepeats; ++i) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 2.0 * 4 * 16 * 16 * 32 * 100 * kRepeats;
}
#endif

// The machine's limit on all threads at once: of its tiles if products run on them, of float32 otherwise.
double peak_flops(int n_threads, [[maybe_unused]] bool bf16, ThreadPool& pool, double& processor) {
    double (*work)(float*) = float_work;
#if defined(__x86_64__)
    if (bf16 && std::strcmp(active_kernels().name, "amx") == 0) work = tile_work;
#endif
    double best = 0;
    std::vector<std::vector<float>> memory(static_cast<size_t>(n_threads), std::vector<float>(1 << 14, 0.5f));
    for (int round = 0; round < 5; ++round) {
        const auto start = Clock::now();
        const double processor_start = processor_seconds();
        std::vector<double> done(static_cast<size_t>(n_threads));
        pool.run(n_threads, [&](int task, int) { done[size_t(task)] = work(memory[size_t(task)].data()); });
        const double flops = done[0] * n_threads;
        best = std::max(best, flops / seconds_since(start));
        processor = std::max(processor, flops / (processor_seconds() - processor_start));
    }
    return best;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 13) {
        std::fprintf(stderr,
                     "train_speed KIND VOCAB WIDTH LAYERS HEADS KV_HEADS HEAD_DIM FFN ROWS LENGTH THREADS SECONDS "
                     "[bf16 | int8-gradients]\n");
        return 2;
    }
    NetConfig config;
    config.bitnet = config.ternary = std::strcmp(argv[1], "ternary") == 0;
    config.vocab_size = std::atoi(argv[2]);
    config.width = std::atoi(argv[3]);
    config.n_layers = std::atoi(argv[4]);
    config.n_heads = std::atoi(argv[5]);
    config.n_kv_heads = std::atoi(argv[6]);
    config.head_dim = std::atoi(argv[7]);
    config.ffn_width = std::atoi(argv[8]);
    const int rows = std::atoi(argv[9]), length = std::atoi(argv[10]), threads = std::atoi(argv[11]);
    const double seconds = std::atof(argv[12]);
    config.context = length;
    config.int8_gradients = argc > 13 && std::strcmp(argv[13], "int8-gradients") == 0;
    config.bf16 = argc > 13 && std::strcmp(argv[13], "bf16") == 0;
    ThreadPool pool(threads);
    auto net = Net::create(config, 1, pool);
    if (!net) {
        std::fprintf(stderr, "%s\n", net.error().message.c_str());
        return 1;
    }
    auto optimizer = Optimizer::create({}, (*net)->parameters(), pool);
    const size_t n = size_t(rows) * size_t(length);
    std::vector<int32_t> tokens(n), targets(n);
    std::vector<float> weights(n, 1.0f);
    uint32_t state = 1;
    for (size_t i = 0; i < n; ++i) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = int32_t(state >> 8) % config.vocab_size;
        targets[i] = int32_t(state >> 4 & 0xffffff) % config.vocab_size;
    }
    const Batch batch = {rows, length, tokens, targets, weights, {}};
    double loss = 0;
    auto step = [&] {
        (*net)->zero_gradients();
        const auto result = (*net)->loss_and_gradients(batch, 1.0f / float(n));
        loss = result.sum / result.weight;
        optimizer->step({.adam = 1e-3f, .muon = 0, .weight_decay = 0.1f});
    };
    step();
    std::vector<double> times, processor_times;
    for (const auto start = Clock::now(); seconds_since(start) < seconds || times.size() < 3;) {
        const auto begin = Clock::now();
        const double processor_begin = processor_seconds();
        step();
        times.push_back(seconds_since(begin));
        processor_times.push_back(processor_seconds() - processor_begin);
    }
    std::sort(times.begin(), times.end());
    std::sort(processor_times.begin(), processor_times.end());
    double n_matrix = 0;  // every weight that multiplies; the embedding does so as the output matrix
    for (const Parameter& p : (*net)->parameters())
        if (!p.is_vector()) n_matrix += double(p.value.size());
    // Forward 2, backward 4 per weight and token; attention's two products forward, four backward, half of them visible.
    const double attention = 6.0 * 2 * config.n_layers * config.n_heads * config.head_dim * (length + 1) / 2;
    const double flops = 6 * n_matrix + attention;
    const double median = times[times.size() / 2];
    double processor_peak = 0;
    const double peak = peak_flops(threads, config.bf16, pool, processor_peak);
    const double processor_median = processor_times[processor_times.size() / 2];
    std::printf(
        "{\"tokens_per_second\": %.1f, \"parameters\": %.0f, \"flop_per_token\": %.0f, \"gflops\": %.2f, "
        "\"peak_gflops\": %.2f, \"gflops_per_processor_second\": %.2f, \"peak_per_processor_second\": %.2f, \"steps\": "
        "%zu, \"loss\": %.4f, \"isa\": \"%s\"}\n",
        double(n) / median, n_matrix, flops, flops * double(n) / median / 1e9, peak / 1e9,
        flops * double(n) / processor_median / 1e9, processor_peak / 1e9, times.size(), loss, active_kernels().name);
    return 0;
}
