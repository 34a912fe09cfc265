#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#ifndef STERNA_NO_THREADS
#include <chrono>
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

void ThreadPool::call(int n_tasks, bool, FunctionRef<void(int, int)> task) {
    for (int i = 0; i < n_tasks; ++i) task(i, 0);
}

#else

namespace {

// A decode step makes a hundred calls and more a token with little between them, and a thread that sleeps takes 50 us and more
// to wake. So a waiter first watches closely, then lets others run in between (there may be more threads than cores), and
// sleeps only after a pause that no forward pass makes.
constexpr int kPauses = 2000;
constexpr auto kPatience = std::chrono::milliseconds(2);

void pause_briefly() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Returns: whether condition() came true before the patience ended.
template <typename Condition>
bool wait_awake(Condition condition) {
    for (int i = 0; i < kPauses; ++i) {
        if (condition()) return true;
        pause_briefly();
    }
    for (const auto end = std::chrono::steady_clock::now() + kPatience; std::chrono::steady_clock::now() < end;) {
        if (condition()) return true;
        std::this_thread::yield();
    }
    return condition();
}

}  // namespace

// A call returns only when no worker is left in work(), so a late one cannot take a task of the next call.
struct ThreadPool::State {
    // Tasks [begin, end) that nobody has taken yet, both in one word.
    class Stretch {
    public:
        void reset(int begin, int end) { range_.store(pack(begin, end), std::memory_order_relaxed); }

        // Returns: a task, or -1 when none is left.
        int take_first() {
            return take([](uint32_t& begin, uint32_t&) { return begin++; });
        }
        int take_last() {
            return take([](uint32_t&, uint32_t& end) { return --end; });
        }

    private:
        static uint64_t pack(uint32_t begin, uint32_t end) { return uint64_t(begin) << 32 | end; }

        template <typename Choose>
        int take(Choose choose) {
            uint64_t range = range_.load(std::memory_order_relaxed);
            for (;;) {
                uint32_t begin = uint32_t(range >> 32), end = uint32_t(range);
                if (begin >= end) return -1;
                const uint32_t task = choose(begin, end);
                if (range_.compare_exchange_weak(range, pack(begin, end), std::memory_order_relaxed)) return int(task);
            }
        }

        alignas(64) std::atomic<uint64_t> range_{0};
    };

    std::atomic<uint32_t> generation{0};
    std::atomic<int> n_working{0};
    std::atomic<const FunctionRef<void(int, int)>*> task{nullptr};
    std::atomic<bool> stopping{false};
    bool in_order = true;            // all tasks are in the first stretch
    std::vector<Stretch> stretches;  // one for each worker
    std::vector<std::thread> threads;

    void work(int worker) {
        const auto& call = *task.load(std::memory_order_relaxed);
        const size_t n = stretches.size();
        for (int index; (index = stretches[in_order ? 0 : size_t(worker)].take_first()) >= 0;) call(index, worker);
        for (size_t i = 1; i < n && !in_order; ++i) {
            Stretch& other = stretches[(size_t(worker) + i) % n];
            for (int index; (index = other.take_last()) >= 0;) call(index, worker);
        }
    }

    void loop(int worker) {
        uint32_t done = 0;
        for (;;) {
            auto called = [&] { return generation.load(std::memory_order_acquire) != done; };
            if (!wait_awake(called))
                while (!called()) generation.wait(done, std::memory_order_acquire);
            if (stopping.load(std::memory_order_acquire)) return;
            done = generation.load(std::memory_order_acquire);
            work(worker);
            if (n_working.fetch_sub(1, std::memory_order_acq_rel) == 1) n_working.notify_one();
        }
    }
};

ThreadPool::ThreadPool(int n_threads) : n_threads_(std::max(1, n_threads)) {
    if (n_threads_ == 1) return;
    state_ = std::make_unique<State>();
    state_->stretches = std::vector<State::Stretch>(size_t(n_threads_));
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

void ThreadPool::call(int n_tasks, bool stretches, FunctionRef<void(int, int)> task) {
    if (!state_ || n_tasks <= 1) {
        for (int i = 0; i < n_tasks; ++i) task(i, 0);
        return;
    }
    State& state = *state_;
    state.task.store(&task, std::memory_order_relaxed);
    state.in_order = !stretches;
    for (int i = 0; i < n_threads_; ++i) {
        if (stretches)
            state.stretches[size_t(i)].reset(int(int64_t(n_tasks) * i / n_threads_),
                                             int(int64_t(n_tasks) * (i + 1) / n_threads_));
        else
            state.stretches[size_t(i)].reset(0, i == 0 ? n_tasks : 0);
    }
    state.n_working.store(n_threads_ - 1, std::memory_order_relaxed);
    state.generation.fetch_add(1, std::memory_order_release);
    state.generation.notify_all();
    state.work(0);
    auto finished = [&] { return state.n_working.load(std::memory_order_acquire) == 0; };
    if (wait_awake(finished)) return;
    for (int working; (working = state.n_working.load(std::memory_order_acquire)) != 0;)
        state.n_working.wait(working, std::memory_order_acquire);
}

#endif

void ThreadPool::run(int n_tasks, FunctionRef<void(int, int)> task) {
    call(n_tasks, false, task);
}
void ThreadPool::run_stretches(int n_tasks, FunctionRef<void(int, int)> task) {
    call(n_tasks, true, task);
}

}  // namespace sterna
