// exp, log, pow, sin and cos of double from + - * / and bit operations: the same bits on every machine. Polynomials are
// plain Taylor series, long enough that the first term left out is below a quarter of the last bit.
#include "kernels/kernels.h"

namespace sterna::kernels {
namespace {

constexpr double kInfinity = __builtin_inf();
constexpr double kNan = __builtin_nan("");
constexpr double kRound = 0x1.8p52;  // x + kRound - kRound is x rounded to nearest even, for |x| < 2^51

uint64_t bits_of(double x) {
    return __builtin_bit_cast(uint64_t, x);
}
double from_bits(uint64_t b) {
    return __builtin_bit_cast(double, b);
}
double magnitude(double x) {
    return from_bits(bits_of(x) & 0x7fffffffffffffffu);
}

// Requires: -1022 <= n <= 1023.
double power_of_two(int n) {
    return from_bits(uint64_t(n + 1023) << 52);
}

// A sum of two doubles that do not overlap: about 106 bits.
struct Pair {
    double hi, lo;
};

Pair two_sum(double a, double b) {
    double s = a + b;
    double b_part = s - a;
    return {s, (a - (s - b_part)) + (b - b_part)};
}

// Requires: |a| >= |b| or a == 0.
Pair fast_two_sum(double a, double b) {
    double s = a + b;
    return {s, b - (s - a)};
}

Pair split(double a) {  // Veltkamp: two halves of at most 26 bits
    double c = a * 134217729.0;
    double hi = c - (c - a);
    return {hi, a - hi};
}

Pair two_product(double a, double b) {  // Dekker
    Pair x = split(a), y = split(b);
    double p = a * b;
    return {p, ((x.hi * y.hi - p) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo};
}

Pair add(Pair a, Pair b) {
    Pair s = two_sum(a.hi, b.hi);
    return fast_two_sum(s.hi, s.lo + a.lo + b.lo);
}

Pair multiply(Pair a, Pair b) {
    Pair p = two_product(a.hi, b.hi);
    return fast_two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

Pair divide(Pair a, Pair b) {
    double q = a.hi / b.hi;
    Pair p = multiply(b, {q, 0});
    double rest = ((a.hi - p.hi) - p.lo) + a.lo;
    return fast_two_sum(q, rest / b.hi);
}

// ln 2 in two parts; the first has 32 bits, so that its product with any exponent is exact.
constexpr double kLn2Hi = 0x1.62e42feep-1;
constexpr double kLn2Lo = 0x1.a39ef35793c76p-33;

// exp(x + tail) for a tail far below x.
double exp_of(double x, double tail) {
    if (x != x) return x;
    if (x > 709.8) return kInfinity;
    if (x < -745.2) return 0;
    double n = (x * 0x1.71547652b82fep0 + kRound) - kRound;
    double r = (x - n * kLn2Hi) - (n * kLn2Lo - tail);
    // exp(r) - 1 - r over r^2, |r| <= 0.347
    double p = 1.0 / 6227020800.0;
    constexpr double kInverseFactorial[] = {
        1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
        1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5};
    for (double c : kInverseFactorial) p = p * r + c;
    // What the reduction lost comes back in first order.
    double whole = x - n * kLn2Hi;
    double lost = (whole - r) - (n * kLn2Lo - tail);
    double e = 1.0 + (r + (r * r * p + lost));
    int k = int(n);
    int half = k / 2;  // two steps, so that results below 2^-1022 round once and 2^1024 overflows only if it must
    return e * power_of_two(half) * power_of_two(k - half);
}

// Splits x = m * 2^exponent with m in [sqrt(1/2), sqrt(2)). Requires: x positive and finite.
double reduce_log(double x, int& exponent) {
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t b = bits_of(x);
    e += int(b >> 52) - 1023;
    b = (b & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m = from_bits(b);
    if (m > 0x1.6a09e667f3bcdp0) {
        m *= 0.5;
        e += 1;
    }
    exponent = e;
    return m;
}

// log x to about 100 bits: 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172. Requires: x positive and finite.
Pair log_pair(double x) {
    int exponent;
    double m = reduce_log(x, exponent);
    Pair s = divide({m - 1.0, 0}, two_sum(m, 1.0));
    Pair z = multiply(s, s);
    Pair sum = {0, 0};
    for (int k = 20; k >= 0; --k) sum = add(multiply(sum, z), divide({2.0, 0}, {double(2 * k + 1), 0}));
    Pair ln_m = multiply(sum, s);
    double e = double(exponent);
    // ln 2 in three parts here: 32 + 53 bits leave too few for a large exponent
    constexpr double kLn2Tail = 0x1.cc01f97b57a08p-87;
    Pair scaled = two_product(e, kLn2Lo);
    scaled = add({e * kLn2Hi, 0}, {scaled.hi, scaled.lo + e * kLn2Tail});
    return add(scaled, ln_m);
}

// pi / 2 in four parts; the first three have 24 bits, so that their products with an integer below 2^29 are exact.
constexpr double kPiParts[] = {0x1.921fb4p0, 0x1.4442dp-24, 0x1.846988p-48, 0x1.8cc51701b839ap-72};
constexpr double kLargestAngle = 0x1p28;

// x = quadrant * pi / 2 + r, |r| <= pi / 4 (and a last bit).
Pair reduce_angle(double x, int& quadrant) {
    double n = (x * 0x1.45f306dc9c883p-1 + kRound) - kRound;
    quadrant = int(int64_t(n) & 3);
    Pair r = {x, 0};
    for (double part : kPiParts) r = add(r, {-(n * part), 0});
    return r;
}

double sin_core(Pair r) {
    double z = r.hi * r.hi;
    constexpr double kTerms[] = {
        -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6};
    double p = 1.0 / 355687428096000.0;
    for (double c : kTerms) p = p * z + c;
    return r.hi + (r.hi * z * p + r.lo * (1.0 - 0.5 * z));
}

double cos_core(Pair r) {
    double z = r.hi * r.hi;
    constexpr double kTerms[] = {-1.0 / 87178291200.0, 1.0 / 479001600, -1.0 / 3628800,
                                 1.0 / 40320,          -1.0 / 720,      1.0 / 24};
    double p = 1.0 / 20922789888000.0;
    for (double c : kTerms) p = p * z + c;
    double half = 0.5 * z;
    double head = 1.0 - half;
    return head + (((1.0 - head) - half) + (z * z * p - r.hi * r.lo));
}

// sin of x + shift * pi / 2.
double sine_shifted(double x, int shift) {
    if (!(magnitude(x) <= kLargestAngle)) return kNan;
    int quadrant;
    Pair r = reduce_angle(x, quadrant);
    quadrant = (quadrant + shift) & 3;
    double value = quadrant & 1 ? cos_core(r) : sin_core(r);
    return quadrant & 2 ? -value : value;
}

bool is_integer(double x) {
    return magnitude(x) >= 0x1p52 || (magnitude(x) + 0x1p52) - 0x1p52 == magnitude(x);
}
// Requires: is_integer(x).
bool is_odd(double x) {
    return magnitude(x) < 0x1p53 && (uint64_t(magnitude(x)) & 1) != 0;
}

}  // namespace

double exp_f64(double x) {
    return exp_of(x, 0);
}

double log_f64(double x) {
    if (x != x || x < 0) return kNan;
    if (x == 0) return -kInfinity;
    if (x == kInfinity) return x;
    Pair l = log_pair(x);
    return l.hi + l.lo;
}

double pow_f64(double base, double exponent) {
    if (exponent == 0 || base == 1) return 1;
    if (base != base || exponent != exponent) return kNan;
    bool negative = bits_of(base) >> 63 && is_integer(exponent) && is_odd(exponent);
    double sign = negative ? -1.0 : 1.0;
    double size = magnitude(base);
    if (size == 0 || size == kInfinity) return (size == 0) == (exponent < 0) ? sign * kInfinity : sign * 0.0;
    if (magnitude(exponent) == kInfinity) {
        if (size == 1) return 1;
        return (size > 1) == (exponent > 0) ? kInfinity : 0.0;
    }
    if (base < 0 && !is_integer(exponent)) return kNan;
    Pair l = log_pair(size);
    double rough = l.hi * exponent;
    if (rough > 710) return sign * kInfinity;
    if (rough < -746) return sign * 0.0;
    Pair product = multiply(l, {exponent, 0});
    return sign * exp_of(product.hi, product.lo);
}

double sin_f64(double x) {
    return x == 0 ? x : sine_shifted(x, 0);
}
double cos_f64(double x) {
    return sine_shifted(x, 1);
}

}  // namespace sterna::kernels
