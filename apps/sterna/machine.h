// What this machine can do at most, measured: the yardstick beside which `sterna bench` and bench/compare put their figures. Each
// figure is the best of several short runs, since other guests may share the machine.
#pragma once

#include <string_view>

#include "base/thread_pool.h"

namespace sterna {

// Bytes per second that all threads of the pool read together from memory far larger than the caches; 0 without memory for that.
double measure_read_bandwidth(ThreadPool& pool, double seconds = 0.3);

// int8 multiply-add operations per second (two per product) in registers, with the best instruction that the kernel table of this
// name may use ("avx2": maddubs, "avx512": vpdpbusd, "amx": tiles; empty: the best of this CPU); 0 where there is no loop for it.
double measure_int8_peak(ThreadPool& pool, std::string_view isa, double seconds = 0.3);

// The instructions that measure_int8_peak() measures: "amx", "avx512vnni", "avx2" or "none".
std::string_view int8_peak_name(std::string_view isa);

}  // namespace sterna
