"""Numbers that the regions of log_iv and log_kv stand on, and how each table comes about.

Sources: DLMF 10.41.10 (the polynomials u_k), DLMF 5.7.1 (the Taylor series of 1 / Gamma); the
Chebyshev coefficients were computed with 50 digits from the definition of K.
"""

import functools
from fractions import Fraction

import numpy as np

# The zero of sqrt(1 + z^2) - asinh(1 / z): z = sqrt(s^2 - 1) where s tanh(s) = 1.
ZERO = Fraction("0.66274341934918158097474209710925290705623354911502")
ROOT = Fraction("1.19967864025773383391636984864114194426145878841860")  # s
GROWTH = 3.3190501422372972  # exp(s) = (1 + s) / z

# 1 / Gamma(1 + z) = even(z^2) + z odd(z^2), from DLMF 5.7.1.
RECIPROCAL_GAMMA_EVEN = (
    1.0,
    -0.6558780715202539,
    0.16653861138229148,
    -0.009621971527876973,
    -0.0011651675918590652,
    0.0001280502823881162,
    -1.2504934821426706e-06,
    -2.056338416977607e-07,
    5.002007644469223e-09,
    1.0434267116911005e-10,
)
RECIPROCAL_GAMMA_ODD = (
    0.5772156649015329,
    -0.04200263503409524,
    -0.04219773455554433,
    0.0072189432466631,
    -0.00021524167411495098,
    -2.013485478078824e-05,
    1.133027231981696e-06,
    6.116095104481416e-09,
    -1.18127457048702e-09,
    7.782263439905071e-12,
)

# sqrt(2 x / pi) exp(x) K_mu(x) = sum_ij c_ij T_i(tau) T_j(8 mu^2 - 1) for |mu| <= 1/2 and x from
# 3/2 to 26, where tau is 1 / (x + 1) stretched to [-1, 1]; c_ij below 4e-18 are left out.
SCALED_FROM, SCALED_TO = 1.5, 26.0
SCALED_K = (
    (
        0.98372684507024,
        0.016186523134158623,
        8.631129360618894e-05,
        3.1963075290201564e-07,
        8.694167562485137e-10,
        1.8224709507022648e-12,
        3.0541629525248588e-15,
        4.208143809394182e-18,
    ),
    (
        -0.014760526910710465,
        0.014647136493065252,
        0.0001129114492697384,
        4.775761110137155e-07,
        1.389226199409785e-09,
        3.033030988280954e-12,
        5.224298757191649e-15,
        7.342443046590613e-18,
    ),
    (
        -0.0009219687852317214,
        0.0008908242414749778,
        3.0946169565530675e-05,
        1.9766647060118203e-07,
        7.059729410083118e-10,
        1.7444006778244206e-12,
        3.2652088234127135e-15,
        4.872460122915355e-18,
    ),
    (
        -8.617649093896629e-05,
        8.278798541490695e-05,
        3.343670501503391e-06,
        4.4607549362744424e-08,
        2.2678036947542673e-10,
        6.913323874124708e-13,
        1.4888826885636921e-15,
    ),
    (
        -7.462168571197603e-06,
        7.047536282780968e-06,
        4.0840194721431834e-07,
        6.182914298727965e-09,
        4.7236025300186826e-11,
        1.903802772538568e-13,
        4.970668328299732e-16,
    ),
    (
        -7.65317447617684e-07,
        7.208796318614467e-07,
        4.3566810518054524e-08,
        8.635107804055227e-10,
        7.455857421320112e-12,
        3.8475694265924976e-14,
        1.2438225962135322e-16,
    ),
    (
        -7.130646455494686e-08,
        6.607292681033486e-08,
        5.126316031719281e-09,
        1.0609512539409689e-10,
        1.1200473294616373e-12,
        6.515210977373773e-15,
        2.4892320895179234e-17,
    ),
    (
        -7.832821783508789e-09,
        7.276460974836166e-09,
        5.425546611290385e-10,
        1.3653383857137549e-11,
        1.5173512748825948e-13,
        1.0241684546100885e-15,
        4.377365238252695e-18,
    ),
    (
        -7.312777710437179e-10,
        6.648167950067813e-10,
        6.484320419377395e-11,
        1.596898117702e-12,
        2.0724416220291922e-14,
        1.4859626956370773e-16,
    ),
    (
        -8.794799131890077e-11,
        8.107466169311886e-11,
        6.66812641834875e-12,
        2.025618104697068e-13,
        2.620114332738876e-15,
        2.1174085536829687e-17,
    ),
    (
        -7.545123259817655e-12,
        6.679513081521197e-12,
        8.426201292540724e-13,
        2.2640617605945987e-14,
        3.4657012386782757e-16,
    ),
    (
        -1.0957106346914528e-12,
        1.0133540576498643e-12,
        7.935629197217837e-14,
        2.958340042669164e-15,
        4.155454496016301e-17,
    ),
    (
        -6.780966686375762e-14,
        5.5871495650137054e-14,
        1.1628664989410657e-14,
        3.039076165774678e-16,
        5.548900706124457e-18,
    ),
    (-1.6377469222883886e-14, 1.550456680957992e-14, 8.278907889802595e-16, 4.438864985027734e-17),
    (-8.894643631573085e-17, -9.97895226402041e-17, 1.8503033314876267e-16),
    (-3.386618116726374e-16, 3.3473617223183905e-16),
    (2.8680211288241324e-17, -3.263972141016504e-17),
    (-1.0417631032524149e-17, 1.0693052004579154e-17),
)


@functools.cache
def debye(terms):
    """The coefficients q_k [k + 1] of u_k(p) = p^k q_k(p^2), k = 0..terms, as exact fractions
    rounded once; u_{k+1} = p^2 (1 - p^2) u_k' / 2 + int_0^p (1 - 5 s^2) u_k(s) ds / 8.
    """
    rows = [[Fraction(1)]]
    for k in range(terms):
        following = [Fraction(0)] * (k + 2)
        for j, c in enumerate(rows[-1]):  # c p^n
            n = k + 2 * j
            following[j] += c * (Fraction(n, 2) + Fraction(1, 8 * (n + 1)))
            following[j + 1] -= c * (Fraction(n, 2) + Fraction(5, 8 * (n + 3)))
        rows.append(following)
    return tuple(tuple(float(c) for c in row) for row in rows)


@functools.cache
def scaled_k(least):
    """The table SCALED_K as rows of powers: row i holds the polynomial in 8 mu^2 - 1 that goes with
    tau^i. Chebyshev coefficients below `least` are dropped.
    """
    width = len(SCALED_K[0])
    table = np.array([[*row, *[0.0] * (width - len(row))] for row in SCALED_K])
    table[np.abs(table) < least] = 0
    powers = [np.polynomial.chebyshev.cheb2poly(np.eye(n + 1)[n]) for n in range(len(table))]
    change = np.array([[*p, *[0.0] * (len(table) - len(p))] for p in powers])  # T_n to powers
    table = change.T @ table @ change[:width, :width]
    rows = [np.trim_zeros(row, "b") for row in table]
    while not len(rows[-1]):
        rows.pop()
    return tuple(tuple(map(float, row)) for row in rows)


@functools.cache
def parts(number, bits):
    """(high, middle, rest): a Fraction as a sum of floats, the first two of at most `bits` bits."""
    found = []
    for _ in range(2):
        scale = 2**bits if number > Fraction(1, 2) else 2 ** (2 * bits)
        found.append(Fraction(round(number * scale), scale))
        number -= found[-1]
    return float(found[0]), float(found[1]), float(number)
