#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#ifndef STERNA_NO_THREADS
#include <thread>
#include <vector>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sterna {

#ifdef STERNA_NO_THREADS

struct ThreadPool::State {};

ThreadPool::ThreadPool(int) : n_threads_(1) {}
ThreadPool::~ThreadPool() = default;

void ThreadPool::run(int n_tasks, FunctionRef<void(int, int)> task) {
    for (int i = 0; i < n_tasks; ++i) task(i, 0);
}

#else

namespace {

// A decode step makes a few hundred calls a token with little between them: waking a sleeping thread (some 50 us) would cost
// more than the work. So a waiter spins for about this many pauses (some 100 us), then sleeps.
constexpr int kSpins = 4000;

void pause_briefly() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
    std::atomic<int> next{
        0};  // run() returns only when no worker is left in work(), so a late one cannot take a task of the next call
    std::atomic<uint32_t> generation{0};
    std::atomic<int> n_working{0};
    std::atomic<int> n_tasks{0};
    std::atomic<const FunctionRef<void(int, int)>*> task{nullptr};
    std::atomic<bool> stopping{false};
    std::vector<std::thread> threads;

    void work(int worker) {
        const int n = n_tasks.load(std::memory_order_relaxed);
        const auto& call = *task.load(std::memory_order_relaxed);
        for (int index; (index = next.fetch_add(1, std::memory_order_relaxed)) < n;) call(index, worker);
    }

    void loop(int worker) {
        uint32_t done = 0;
        for (;;) {
            uint32_t now = generation.load(std::memory_order_acquire);
            for (int spin = 0; now == done && spin < kSpins; ++spin) {
                pause_briefly();
                now = generation.load(std::memory_order_acquire);
            }
            while (now == done) {
                generation.wait(done, std::memory_order_acquire);
                now = generation.load(std::memory_order_acquire);
            }
            if (stopping.load(std::memory_order_acquire)) return;
            done = now;
            work(worker);
            if (n_working.fetch_sub(1, std::memory_order_acq_rel) == 1) n_working.notify_one();
        }
    }
};

ThreadPool::ThreadPool(int n_threads) : n_threads_(std::max(1, n_threads)) {
    if (n_threads_ == 1) return;
    state_ = std::make_unique<State>();
    for (int worker = 1; worker < n_threads_; ++worker)
        state_->threads.emplace_back([this, worker] { state_->loop(worker); });
}

ThreadPool::~ThreadPool() {
    if (!state_) return;
    state_->stopping.store(true, std::memory_order_release);
    state_->generation.fetch_add(1, std::memory_order_acq_rel);
    state_->generation.notify_all();
    for (auto& thread : state_->threads) thread.join();
}

void ThreadPool::run(int n_tasks, FunctionRef<void(int, int)> task) {
    if (!state_ || n_tasks <= 1) {
        for (int i = 0; i < n_tasks; ++i) task(i, 0);
        return;
    }
    State& state = *state_;
    state.task.store(&task, std::memory_order_relaxed);
    state.n_tasks.store(n_tasks, std::memory_order_relaxed);
    state.n_working.store(n_threads_ - 1, std::memory_order_relaxed);
    state.next.store(0, std::memory_order_relaxed);
    state.generation.fetch_add(1, std::memory_order_release);
    state.generation.notify_all();
    state.work(0);
    for (int spin = 0;; ++spin) {
        int working = state.n_working.load(std::memory_order_acquire);
        if (working == 0) return;
        if (spin < kSpins)
            pause_briefly();
        else
            state.n_working.wait(working, std::memory_order_acquire);
    }
}

#endif

}  // namespace sterna
