#include "base/thread_pool.h"

#include <atomic>
#include <vector>

#include <gtest/gtest.h>

namespace sterna {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceForEverySize) {
    for (int size : {1, 2, 5}) {
        ThreadPool pool(size);
        for (int round = 0; round < 2000; ++round) {
            int n = round / 2 % 17;
            std::vector<std::atomic<int>> counts(size_t(n) + 1);
            auto task = [&](int index, int worker) {
                ASSERT_LT(worker, size);
                counts[size_t(index)].fetch_add(1);
            };
            if (round % 2)
                pool.run(n, task);
            else
                pool.run_stretches(n, task);
            for (int i = 0; i < n; ++i) ASSERT_EQ(counts[size_t(i)].load(), 1);
        }
    }
}

// What the caller wrote before run() is seen by the tasks, and what they wrote by the caller: ThreadSanitizer would tell.
TEST(ThreadPool, PlainMemoryNeedsNoLocks) {
    ThreadPool pool(4);
    std::vector<int> values(11, 1);
    for (int round = 1; round < 1000; ++round) {
        pool.run(int(values.size()), [&](int task, int) { values[size_t(task)] += round; });
        for (int& value : values) ++value;
    }
    for (int value : values) EXPECT_EQ(value, 1 + 999 * 1000 / 2 + 999);
}

}  // namespace
}  // namespace sterna
