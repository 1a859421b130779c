"""Spherical harmonics in any dimension, from products of Gegenbauer polynomials.

With rho_k² = x_1² + ... + x_k², a harmonic of degree n_d + ... + n_3 + m is

    Re or Im (x_1 + i x_2)^m · Π_{k=3}^d rho_k^{n_k} C^{(a_k)}_{n_k}(x_k / rho_k),
    a_k = (k - 2)/2 + m + n_3 + ... + n_{k-1},

and every factor is a homogeneous polynomial, made by the three-term recursion, so nothing is
divided by a radius. Under the uniform law of the sphere they are orthonormal.

Source: Dai and Xu 2013, Approximation theory and harmonic analysis on spheres and balls, theorem
1.5.1.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np


@functools.cache
def _log_norm2(n, below, k):
    """The log of E[(1 - t²)^below C_n^{(a)}(t)²], t the last coordinate on the sphere in R^k."""
    a = (k - 2) / 2 + below
    area = math.log(math.pi) / 2 + math.lgamma((k - 1) / 2) - math.lgamma(k / 2)
    whole = math.log(math.pi) + (1 - 2 * a) * math.log(2) + math.lgamma(n + 2 * a)
    return whole - math.lgamma(n + 1) - math.log(n + a) - 2 * math.lgamma(a) - area


@functools.cache
def _indices(d, degree):
    """All (m, sign, n_3, ..., n_d) of one degree."""
    found = []

    def fill(left, k, tail):
        if k == 2:
            found.extend([(left, s, *tail) for s in ((0,) if left == 0 else (0, 1))])
            return
        for n in range(left + 1):
            fill(left - n, k - 1, (n, *tail))

    fill(degree, d, ())
    return tuple(found)


def count_harmonics(d, degree):
    """How many spherical harmonics [] of one degree there are on the unit sphere of R^d, d >= 2.

    Source: Dai and Xu 2013, corollary 1.1.4.
    """
    whole = lambda l: math.comb(d + l - 1, l) if l >= 0 else 0
    return whole(degree) - whole(degree - 2)


def _gegenbauer(top, a, x, square):
    """Homogeneous Gegenbauer polynomials, degrees 0 to top, of a [l] at x [n]: [n, l, top + 1]."""
    x, square = x[:, None], square[:, None]
    values = [jnp.ones((x.shape[0], len(a)), x.dtype), 2 * x * jnp.asarray(a, x.dtype)[None]]
    for i in range(2, top + 1):
        up, down = (
            jnp.asarray(c, x.dtype)[None] for c in (2 * (i + a - 1) / i, (i + 2 * a - 2) / i)
        )
        values.append(up * x * values[-1] - down * square * values[-2])
    return jnp.stack(values[: top + 1], axis=-1)


def _powers(top, x, y):
    """Real and imaginary parts of (x + i y)^m, m <= top, at x [n]: [n, 2 (top + 1)]."""
    real, imaginary = [jnp.ones_like(x)], [jnp.zeros_like(x)]
    for _ in range(top):
        a, b = real[-1], imaginary[-1]
        real.append(a * x - b * y)
        imaginary.append(a * y + b * x)
    return jnp.stack(real + imaginary, axis=1)


def harmonics(x, degrees):
    """The spherical harmonics of the given degrees at unit vectors x [n, d]: values [n, k].

    Orthonormal under the uniform law of the sphere: E Y_i Y_j is 1 for i = j, else 0, so that all
    of degree 1 or more have mean 0; degree 0 is the constant 1. The degrees are static integers.

    Raises ValueError unless x is [n, d] with d >= 2 and degrees are not negative.
    Source: Dai and Xu 2013, theorem 1.5.1.
    """
    if jnp.ndim(x) != 2 or x.shape[1] < 2:
        raise ValueError(f"math.harmonics: x must be [n, d] with d >= 2; got {jnp.shape(x)}")
    if min(degrees, default=0) < 0:
        raise ValueError(f"math.harmonics: degrees must not be negative; got {tuple(degrees)}")
    (n, d), top = x.shape, max(degrees, default=0)
    rows = np.array([row for l in degrees for row in _indices(d, l)], np.int64).reshape(-1, d)
    m, sign, ns = rows[:, 0], rows[:, 1], rows[:, 2:]
    below = np.cumsum(np.concatenate([m[:, None], ns], axis=1), axis=1)  # degree under each level
    value = _powers(top, x[:, 0], x[:, 1])[:, m + (top + 1) * sign]
    square = jnp.cumsum(x * x, axis=1)
    log_norm2 = np.where(m > 0, math.log(0.5), 0.0)
    for k in range(3, d + 1):
        i, b = ns[:, k - 3], below[:, k - 3]
        a = (k - 2) / 2 + np.arange(top + 1)
        table = _gegenbauer(top, a, x[:, k - 1], square[:, k - 1]).reshape(n, -1)
        value = value * table[:, b * (top + 1) + i]
        log_norm2 += [_log_norm2(*pair, k) for pair in zip(i.tolist(), b.tolist(), strict=True)]
    return value * jnp.asarray(np.exp(-log_norm2 / 2), x.dtype)[None]
