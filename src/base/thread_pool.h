// A fixed set of threads that share out the tasks of one call at a time. Threads split outputs, never reductions, so their
// number changes no bit of any result. The caller's thread works too: a pool of size 1 starts no thread (and is all there is
// where STERNA_NO_THREADS is defined). Thread-compatible: one caller at a time.
#pragma once

#include <memory>

#include "base/function_ref.h"

namespace sterna {

class ThreadPool {
public:
    explicit ThreadPool(int n_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int size() const { return n_threads_; }

    // Calls task(i, worker) once for every i in [0, n_tasks), worker in [0, size()), and returns when all are done.
    // Not re-entrant: a task must not call run().
    // A free worker takes the first task that is left.
    void run(int n_tasks, FunctionRef<void(int task, int worker)> task);

    // As run(), but a worker begins with a stretch of neighbouring tasks of its own and then takes what others have left,
    // from the end: for tasks that stream through memory, where what is read ahead of one task belongs to the next.
    void run_stretches(int n_tasks, FunctionRef<void(int task, int worker)> task);

private:
    void call(int n_tasks, bool stretches, FunctionRef<void(int task, int worker)> task);

    struct State;
    int n_threads_;
    std::unique_ptr<State> state_;
};

}  // namespace sterna
