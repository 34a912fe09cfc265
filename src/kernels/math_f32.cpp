// The scalar forms of math.inl: the same text over vectors of one lane.
#include "kernels/kernels.h"

#define STERNA_INLINE inline

namespace sterna::kernels {
namespace one_lane {
namespace {

struct F32 {
    float value;
};
struct I32 {
    uint32_t value;
};

inline F32 splat(float x) {
    return {x};
}
inline I32 splat(int32_t x) {
    return {uint32_t(x)};
}
inline F32 operator+(F32 a, F32 b) {
    return {a.value + b.value};
}
inline F32 operator-(F32 a, F32 b) {
    return {a.value - b.value};
}
inline F32 operator*(F32 a, F32 b) {
    return {a.value * b.value};
}
inline F32 operator/(F32 a, F32 b) {
    return {a.value / b.value};
}
inline F32 max(F32 a, F32 b) {
    return a.value > b.value ? a : b;
}
inline bool lt(F32 a, F32 b) {
    return a.value < b.value;
}
inline bool gt(F32 a, F32 b) {
    return a.value > b.value;
}
inline F32 select(bool which, F32 yes, F32 no) {
    return which ? yes : no;
}
inline I32 as_i32(F32 x) {
    return {__builtin_bit_cast(uint32_t, x.value)};
}
inline F32 as_f32(I32 x) {
    return {__builtin_bit_cast(float, x.value)};
}
inline F32 abs(F32 x) {
    return as_f32(I32{as_i32(x).value & 0x7fffffff});
}
inline I32 operator+(I32 a, I32 b) {
    return {a.value + b.value};
}
inline I32 operator-(I32 a, I32 b) {
    return {a.value - b.value};
}
inline I32 operator&(I32 a, I32 b) {
    return {a.value & b.value};
}
inline I32 operator|(I32 a, I32 b) {
    return {a.value | b.value};
}
inline I32 operator^(I32 a, I32 b) {
    return {a.value ^ b.value};
}
template <int N>
inline I32 shl(I32 a) {
    return {a.value << N};
}
template <int N>
inline I32 sar(I32 a) {
    return {uint32_t(int32_t(a.value) >> N)};
}

#include "kernels/math.inl"

}  // namespace
}  // namespace one_lane

float exp_f32(float x) {
    return one_lane::exp_v({x}).value;
}
float tanh_f32(float x) {
    return one_lane::tanh_v({x}).value;
}
float log_f32(float x) {
    return float(log_f64(double(x)));
}

}  // namespace sterna::kernels
