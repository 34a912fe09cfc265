// Measures what this machine can do at best, for comparison with what an engine reaches: reading memory, and multiplying int8.
//
//     machine [SECONDS]    prints one JSON object: {"threads": [1, 2], "read_gbs": [...], "int8_tops": [...], "int8_by": "avx2"}
//
// SECONDS (0.5) is the time of each measurement.
#include "../apps/sterna/machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
    using namespace sterna;
    const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
    const int n_cores = std::max(1, int(std::thread::hardware_concurrency()));
    std::vector<int> threads{1};
    if (n_cores > 1) threads.push_back(n_cores);
    auto print = [&](const char* name, auto value) {
        std::printf("\"%s\": [", name);
        for (size_t i = 0; i < threads.size(); ++i) {
            ThreadPool pool(threads[i]);
            std::printf("%s%.4g", i ? ", " : "", double(value(pool)));
        }
        std::printf("], ");
    };
    std::printf("{");
    print("threads", [](ThreadPool& pool) { return pool.size(); });
    print("read_gbs", [&](ThreadPool& pool) { return measure_read_bandwidth(pool, seconds) / 1e9; });
    print("int8_tops", [&](ThreadPool& pool) { return measure_int8_peak(pool, "", seconds) / 1e12; });
    std::printf("\"int8_by\": \"%s\"}\n", std::string(int8_peak_name("")).c_str());
    return 0;
}
