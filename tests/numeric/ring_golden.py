#!/usr/bin/env python3
"""Prints ring_golden.inc: quantised and packed words from exact rationals.

An implementation of common/numeric/ring_codec.h that shares nothing with it:
Fraction arithmetic, Python's round (ties to even) and big integers.
"""
import random
import struct
from fractions import Fraction

random.seed(11)


def float32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def cpp_float(v):
    text = "%.9g" % v
    return text + ("f" if "." in text or "e" in text else ".0f")


def cpp_word(w):
    return hex(w) + ("u" if w < 2**32 else "ull")


SPECS = [(8, 2, 16), (12, 3, 5), (16, 10, 3), (20, -2, 4), (24, 15, 16),
         (32, 25, 16), (64, 40, 16), (64, 62, 1), (64, 20, 7)]

print("// Made by ring_golden.py. clang-format off")
print("const std::vector<GoldenQuantize> kGoldenQuantize = {")
for bits, fraction, terms in SPECS:
    term_max = (2**(bits - 1) - 1) // terms
    step = Fraction(2)**(-fraction)
    values = [0.0, 0.5, -0.5, 1.5, 2.5]
    values += [float(step * Fraction(k, 2)) for k in
               (1, 3, 5, -1, -3, 2 * term_max + 1, -2 * term_max - 1)]
    values += [random.gauss(0, 0.6) * float(step * term_max) for _ in range(4)]
    values = [float32(v) for v in values]
    scale = random.choice([1.0, 0.75, 0.3125, 1 / 3])
    words, saturated = [], 0
    for v in values:
        q = round(Fraction(v * scale) * Fraction(2)**fraction)
        if abs(q) > term_max:
            saturated += 1
            q = term_max if q > 0 else -term_max
        words.append(q % 2**bits)
    print("    {{%d, %d}, %d, %s, %d," % (bits, fraction, terms, scale.hex(),
                                          saturated))
    print("     {" + ", ".join(map(cpp_float, values)) + "},")
    print("     {" + ", ".join(map(cpp_word, words)) + "}},")
print("};")
print("const std::vector<GoldenPack> kGoldenPack = {")
for bits in (8, 12, 16, 20, 24, 32, 64):
    words = [random.getrandbits(bits) for _ in range(5)]
    whole = sum(w << (bits * i) for i, w in enumerate(words))
    packed = whole.to_bytes((bits * len(words) + 7) // 8, "little").hex()
    print('    {%d, {%s}, "%s"},' % (bits, ", ".join(map(cpp_word, words)),
                                     packed))
print("};")
print("// clang-format on")
