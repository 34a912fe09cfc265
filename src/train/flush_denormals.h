// While one lives, the calling thread takes denormal numbers for zero and makes none: how TDPBF16PS adds up.
#pragma once

#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace sterna::train {

class FlushDenormals {
public:
#if defined(__SSE__)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }  // FTZ, DAZ
    ~FlushDenormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
    FlushDenormals() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
        set(before_ | uint64_t(1) << 24);  // FZ
    }
    ~FlushDenormals() { set(before_); }
#else
    FlushDenormals() {}
#endif
    // Whether it does so on this machine: without it, sums of bfloat16 products may have other bits.
#if defined(__SSE__) || defined(__aarch64__)
    static constexpr bool kWorks = true;
#else
    static constexpr bool kWorks = false;
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
#if defined(__SSE__)
    unsigned before_;
#elif defined(__aarch64__)
    static void set(uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory"); }
    uint64_t before_;
#endif
};

}  // namespace sterna::train
