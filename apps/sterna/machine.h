// What this machine can do at most, measured: the yardstick beside which `sterna bench` puts its figures.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace sterna {

// Bytes per second that all threads of the pool read together from memory far larger than the caches: the best of some passes.
double measure_read_bandwidth(ThreadPool& pool);

// int8 multiply-add operations per second (two per product) in registers with the best instruction that the named kernel table may
// use ("avx2": maddubs, "avx512": vpdpbusd); 0 where there is no loop for the table.
double measure_int8_peak(ThreadPool& pool, const char* isa);

}  // namespace sterna
