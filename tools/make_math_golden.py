#!/usr/bin/env python3
"""Writes tests/kernels_rows/math_golden.txt: arguments and correctly rounded results of the double mathematics.

Witness: mpmath at 200 bits (pip install mpmath numpy), seed fixed below. Each line: function, arguments, result, all as C hex floats.
With --fit it prints the polynomial coefficients of src/kernels/math.inl instead (Remez exchange on the stated interval).
"""
import random
import sys
from pathlib import Path

import numpy as np
from mpmath import cos, erfc, exp, lu_solve, matrix, mp, mpf, nstr, pi, power, sin, sqrt, tanh

mp.prec = 200
SEED = 20240117


def remez(f, degree, low, high):
    """Coefficients (constant first) of the polynomial nearest to f on [low, high], and its largest error."""
    n = degree + 2
    nodes = [(low + high) / 2 - (high - low) / 2 * cos(pi * k / (n - 1)) for k in range(n)]
    grid = [low + (high - low) * mpf(i) / 4000 for i in range(4001)]
    values = [f(x) for x in grid]
    for _ in range(30):
        system, right = matrix(n, n), matrix(n, 1)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                system[i, j] = x**j
            system[i, degree + 1] = (-1) ** i
            right[i] = f(x)
        solution = lu_solve(system, right)
        coefficients = [solution[j] for j in range(degree + 1)]
        errors = [v - mp.polyval(coefficients[::-1], x) for x, v in zip(grid, values)]
        extrema, i = [], 0
        while i < len(errors):
            sign, best = errors[i] > 0, i
            while i < len(errors) and (errors[i] > 0) == sign:
                best = max(best, i, key=lambda k: abs(errors[k]))
                i += 1
            extrema.append(best)
        while len(extrema) > n:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < n or max(abs(grid[e] - x) for e, x in zip(extrema, nodes)) < 1e-9:
            break
        nodes = [grid[e] for e in extrema]
    return coefficients, max(abs(e) for e in errors)


def fit():
    def exp_tail(r):
        return (exp(r) - 1 - r) / r**2 if abs(r) > 1e-12 else mpf(1) / 2

    def tanh_tail(z):
        return (tanh(sqrt(z)) / sqrt(z) - 1) / z if z > 1e-20 else -mpf(1) / 3

    def normal_tail(w):
        t = (1 / w - 1) / slope
        return erfc(t / sqrt(2)) / 2 * exp(t * t / 2) / w

    slope = mpf(float(np.float32(0.4)))
    half_ln2 = mp.log(2) / 2 * mpf("1.001")
    for name, f, degree, low, high in (
        ("exp_tail", exp_tail, 4, -half_ln2, half_ln2),
        ("tanh_tail", tanh_tail, 4, mpf(0), mpf("0.625") ** 2),
        ("normal_tail", normal_tail, 7, 1 / (1 + slope * 8), mpf(1)),
    ):
        coefficients, error = remez(f, degree, low, high)
        print(name, "largest error", nstr(error, 3))
        for c in coefficients:
            print("    ", float(np.float32(float(c))).hex(), nstr(c, 10))


def golden():
    rng = random.Random(SEED)
    lines = []

    def put(name, args, value):
        value = float(value)
        lines.append(" ".join([name, *(a.hex() for a in args), value.hex()]))

    for x in [0.5, 1.0, -1.0, 700.0, -700.0, -744.0, 709.0, 1e-300, 1e-9] + [rng.uniform(-708, 708) for _ in range(60)]:
        put("exp", [x], exp(mpf(x)))
    for x in [1.0, 2.0, 0.5, 10.0, 5e-324, 1.7e308, 1 + 2**-52, 1 - 2**-53] + [2.0 ** rng.uniform(-60, 60) for _ in range(60)]:
        put("log", [x], mp.log(mpf(x)))
    angles = [1e-300, 1e-9, 0.5, 1.5707963267948966, 3.141592653589793, 22.0, 355.0, 6381956970095103.0 * 2**-30, 1e7]
    angles += [rng.uniform(-10, 10) for _ in range(30)] + [rng.uniform(-1e7, 1e7) for _ in range(60)]
    for x in angles:
        put("sin", [x], sin(mpf(x)))
        put("cos", [x], cos(mpf(x)))
    pairs = [(base, -2.0 * i / d) for base in (10000.0, 500000.0, 1e6, 1.5e8) for d in (64, 80, 128) for i in range(0, d // 2, 7)]
    pairs += [(2.0 ** rng.uniform(-20, 20), rng.uniform(-50, 50)) for _ in range(60)] + [(-3.0, 5.0), (-3.0, 4.0), (1.0000001, 1e9)]
    for b, e in pairs:
        put("pow", [b, e], power(mpf(b), mpf(e)))
    path = Path(__file__).resolve().parent.parent / "tests" / "kernels_rows" / "math_golden.txt"
    path.write_text("\n".join(lines) + "\n")
    print(path, len(lines), "lines")


if __name__ == "__main__":
    fit() if "--fit" in sys.argv else golden()
