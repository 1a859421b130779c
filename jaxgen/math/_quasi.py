"""Points that fill a cube evenly: rank-1 lattices, shifted at random.

A lattice of n points is {k z / n mod 1, k = 0, ..., n - 1}. Its generator is a Korobov one, z = (1,
a, a², ...) mod n, with the a that has the least mean square error on periodic functions with a
square-integrable mixed derivative: (1/n) Σ_k Π_j (1 + 2 π² B_2(x_kj) / j²) - 1, where B_2 is a
Bernoulli polynomial and later axes count less. The search is done once for every n and d.

Sources: Sloan and Joe 1994, Lattice methods for multiple integration (the criterion P_2); Korobov
1960; Cranley and Patterson 1976 (the shift).
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

_CANDIDATES = 96


@functools.cache
def _generator(n, d):
    """The best of some Korobov generators [d] for n points: integers modulo n."""
    if n < 4 or d < 2:
        return np.ones(d, np.int64)
    units = [a for a in range(2, n // 2 + 1) if math.gcd(a, n) == 1] or [1]
    if len(units) > _CANDIDATES:  # spread evenly by the golden ratio, so that none is favoured
        spots = np.floor(len(units) * (np.arange(_CANDIDATES) * (5**0.5 - 1) / 2 % 1)).astype(int)
        units = [units[i] for i in sorted(set(spots.tolist()))]
    rows, best, chosen = np.arange(n, dtype=np.int64), math.inf, None
    for a in units:
        generator, error = np.ones(d, np.int64), np.ones(n)
        for j in range(d):
            generator[j] = generator[j - 1] * a % n if j else 1
            x = rows * generator[j] % n / n
            error *= 1 + 2 * math.pi**2 * (x * x - x + 1 / 6) / (j + 1) ** 2
        if error.mean() < best:
            best, chosen = error.mean(), generator
    return chosen


def quasi_uniform(key, n, d, dtype=None):
    """n evenly spread points [n, d] of the cube [0, 1)^d, each uniform: a shifted lattice.

    A mean over them is unbiased, and its error on smooth functions falls faster than 1/√n: as 1/n
    or better on periodic ones. The generator is searched on the host (n and d are static): about
    96 n d operations, once.

    Raises ValueError unless n >= 1 and d >= 1. Source: Cranley and Patterson 1976.
    """
    if n < 1 or d < 1:
        raise ValueError(f"math.quasi_uniform: n and d must be at least 1; got {n} and {d}")
    rows = np.arange(n, dtype=np.int64)[:, None]
    lattice = rows * _generator(n, d)[None] % n / n
    shift = jax.random.uniform(key, (1, d), dtype or jnp.result_type(float))
    moved = jnp.asarray(lattice, shift.dtype) + shift
    return jnp.where(moved >= 1, moved - 1, moved)
