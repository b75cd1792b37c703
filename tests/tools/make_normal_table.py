#!/usr/bin/env python3
"""Writes sim/vary_table.c: the inverse of the normal distribution, for integer draws.

    python3 tests/tools/make_normal_table.py > sim/vary_table.c

Lines in the tail probability p, after Lee, Cheung, Villasenor and Luk, "Inversion-based hardware
Gaussian random number generator: a case study of function evaluation via hierarchical segmentation"
(IEEE FPT 2006): 992 equal ones for p from 2^-6 to 1/2, and below 27 octaves of 32 each. Values are
those of statistics.NormalDist.inv_cdf (Wichura's AS241, 16 digits), in parts per 2^24.
"""
from fractions import Fraction
from statistics import NormalDist

OCTAVES, PARTS, EQUAL, SCALE = 27, 32, 1024, 1 << 24


def edges():
    """Tail probabilities, ascending, from 2^-33."""
    for octave in range(OCTAVES):
        for part in range(PARTS):
            yield Fraction((PARTS + part) << octave, PARTS << 33)
    for line in range(PARTS, EQUAL + 1):
        yield Fraction(line, 2 * EQUAL)


def variance(values, probabilities):
    """Of draws that are uniform on each line; below the first edge: as the first octave."""
    total = 0.0
    for i in range(len(values) - 1):
        a, b = values[i] / SCALE, values[i + 1] / SCALE
        weight = 2 if i < PARTS else 1  # the octave below has its mass here, too
        total += weight * float(probabilities[i + 1] - probabilities[i]) * (a * a + a * b + b * b) / 3
    return 2 * total


def main():
    probabilities = list(edges())
    values = [round(-NormalDist().inv_cdf(float(p)) * SCALE) for p in probabilities]
    values[-1] = 0
    print("/* Written by tests/tools/make_normal_table.py, which says what this is: z of upper tail")
    print(" * probabilities, in parts per 2^24. Variance of the draws: 1 %+.1e. */"
          % (variance(values, probabilities) - 1))
    print('#include "sim/vary_normal.h"\n')
    print("const int32_t pp_vary_normal_table[PP_VARY_NORMAL_LINES + 1] = {")
    line = "   "
    for v in values:
        word = " %d," % v
        if len(line) + len(word) > 100:
            print(line)
            line = "   "
        line += word
    print(line)
    print("};")


main()
