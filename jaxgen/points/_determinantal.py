"""Determinantal processes on the unit cube with finitely many waves.

The kernel K(x, y) = sum_k p_k exp(2 pi i k . (x - y)) has the waves as eigenfunctions. Each is kept
with probability p_k; given the m kept ones, their process has exactly m points, drawn one by one.

Source: Hough et al. 2006, theorem 7 and algorithm 18; Lavancier, Moller and Rubak 2015,
arXiv 1205.4818, sections 2 and 3.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.points._pattern import Pattern, checked_dimension
from jaxgen.types import Distribution


def determinantal(frequencies, weights):
    """The determinantal process of waves k [m, d] (integers) with eigenvalues p_k [m] on [0, 1]^d,
    as a `Distribution` of `Pattern`s with points [m, d].

    Its intensity is sum p; its count a sum of independent Bernoulli(p_k); the pair correlation
    1 - |K(x, y)|^2 / (sum p)^2. The log-density is normalised, with respect to Lebesgue measure
    over n! at n points; it is None when some concrete p_k is 1.

    Raises ValueError on shapes that do not fit, frequencies that are no distinct integers, or
    weights outside [0, 1]; `logdensity` on points of another dimension.
    Source: Hough et al. 2006, algorithm 18; Lavancier, Moller and Rubak 2015, arXiv 1205.4818.
    """
    where = "points.determinantal"
    waves, weights = np.asarray(frequencies), jnp.asarray(weights)
    weights = weights if weights.dtype.kind == "f" else weights.astype(float)
    if waves.ndim != 2 or weights.shape != waves.shape[:1] or not weights.size:
        raise ValueError(
            f"{where}: frequencies [m, d] and weights [m] must fit; got {waves.shape} and "
            f"{weights.shape}"
        )
    if np.any(waves != np.round(waves)) or len(np.unique(waves, axis=0)) != len(waves):
        raise ValueError(f"{where}: frequencies must be distinct integers; got others")
    sure = False
    if is_concrete(weights):
        held = np.asarray(weights)
        if not np.all((held >= 0) & (held <= 1)):
            raise ValueError(f"{where}: weights must lie in [0, 1]; got {held}")
        sure = bool(np.any(held == 1))
    waves = jnp.asarray(waves, weights.dtype)
    sample = lambda key: _sample(key, waves, weights)
    logdensity = lambda pattern: _logdensity(pattern, waves, weights)
    return Distribution(sample, None if sure else logdensity)


def _features(x, waves):
    """exp(2 pi i k . x) [m] at x [d]."""
    return jnp.exp(2j * jnp.pi * (waves @ x).astype(jnp.result_type(waves, jnp.complex64)))


def _sample(key, waves, weights):
    """Point by point: uniform proposals, kept in proportion to the density given those before."""
    m, d = waves.shape
    key_kept, key_points = jax.random.split(key)
    kept = jax.random.uniform(key_kept, (m,), weights.dtype) < weights
    n = jnp.sum(kept)

    def place(carry, i):
        # rows of basis: the orthonormal directions that the points before have used up
        points, basis = carry
        key_i = jax.random.fold_in(key_points, i)

        def left(x):
            v = jnp.where(kept, _features(x, waves), 0)
            rest = v - basis.T @ (basis.conj() @ v)
            return jnp.sum(jnp.abs(rest) ** 2), rest

        def propose(carry):
            tries, _, _ = carry
            key_x, key_u = jax.random.split(jax.random.fold_in(key_i, tries))
            x = jax.random.uniform(key_x, (d,), waves.dtype)
            taken = jax.random.uniform(key_u, (), waves.dtype) * n < left(x)[0]
            return tries + 1, x, taken

        start = (0, jnp.zeros(d, waves.dtype), i >= n)
        x = jax.lax.while_loop(lambda c: ~c[2], propose, start)[1]
        size, rest = left(x)
        row = jnp.where(i < n, rest / jnp.sqrt(jnp.where(size > 0, size, 1)), 0)
        return (points.at[i].set(x), basis.at[i].set(row)), None

    empty = jnp.zeros((m, d), waves.dtype), jnp.zeros((m, m), _features(waves[0], waves).dtype)
    points, _ = jax.lax.scan(place, empty, jnp.arange(m))[0]
    return Pattern(points, jnp.arange(m) < n)


def _logdensity(pattern, waves, weights):
    """sum log(1 - p) + log det L(x_i, x_j), L with eigenvalues p / (1 - p)."""
    points, mask = pattern
    checked_dimension("points.determinantal", points, waves.shape[1])
    waves_at = jax.vmap(lambda x: _features(x, waves))(points)
    odds = (weights / (1 - weights)).astype(waves_at.dtype)
    gram = (waves_at * odds[None]) @ waves_at.conj().T
    both = mask[:, None] & mask[None]
    gram = jnp.where(both, gram, jnp.eye(mask.size, dtype=gram.dtype))
    sign, value = jnp.linalg.slogdet(gram)
    legal = jnp.all(((points >= 0) & (points <= 1)) | ~mask[:, None])
    legal &= (jnp.sum(mask) <= weights.size) & (jnp.real(sign) > 0)
    return jnp.where(legal, jnp.sum(jnp.log1p(-weights)) + value, -jnp.inf)
