"""Distances to nearest neighbours in a sample, in the Euclidean or the max norm.

Distances come from differences, never an expanded square, so copies are at distance 0 exactly; they
are then read at the resolution of the sample: eps (of the dtype) times the largest deviation from
its mean. That is what makes logarithms finite on copies and keeps h(c x) = h(x) + d log c.
"""

import math

import jax
import jax.numpy as jnp

from jaxgen.metrics.information._points import each_row

Array = jax.Array


def size_of(difference: Array, norm: str) -> Array:
    """The squared Euclidean or the plain max norm along the last axis; both order alike."""
    if norm == "euclidean":
        return jnp.sum(difference**2, axis=-1)
    return jnp.max(jnp.abs(difference), axis=-1)


def log_unit_ball(d: int, norm: str, dtype) -> Array:
    """The logarithm of the volume of the unit ball of dimension d, []."""
    if norm == "max":
        return jnp.asarray(d * jnp.log(2.0), dtype)
    half = d / 2
    return jnp.asarray(half * jnp.log(jnp.pi) - jax.scipy.special.gammaln(half + 1), dtype)


def resolution(xs: Array) -> Array:
    """The distance [] below which two points of xs [n, d] count as copies."""
    xs = jax.lax.stop_gradient(xs)
    info = jnp.finfo(xs.dtype)
    widest = jnp.max(jnp.abs(xs - jnp.mean(xs, axis=0, keepdims=True)))
    # The square of the distance must not underflow.
    return jnp.maximum(info.eps * widest, jnp.sqrt(info.tiny).astype(xs.dtype))


def smallest(row: Array, k: int) -> tuple[Array, Array]:
    """The k smallest of row [n], rising, and where they are: [k], [k].

    Equal to top_k of -row up to ties. On a CPU top_k sorts whole rows of float64, a hundred times
    slower than of float32; the k smallest lie in the k blocks of smallest minima, so two short
    sorts do.
    """
    n = row.shape[0]
    blocks = math.isqrt(n * k) + 1
    if row.dtype == jnp.float32 or 2 * blocks > n:
        least, index = jax.lax.top_k(-row, k)
        return -least, index
    width = -(-n // blocks)
    blocks = -(-n // width)
    table = jnp.pad(row, (0, blocks * width - n), constant_values=jnp.inf).reshape(blocks, width)
    kept = jax.lax.top_k(-jnp.min(table, axis=1), min(k, blocks))[1]
    least, index = jax.lax.top_k(-table[kept].reshape(-1), k)
    return -least, kept[index // width] * width + index % width


def log_distances(xs: Array, k: int, norm: str, chunk: int) -> Array:
    """log of the distances [n, k] from every point to its 1st .. k-th neighbour, differentiable.

    Which points are neighbours is held fixed under differentiation; the gradient reaches both ends
    of every pair, and is zero on copies.
    """
    n = xs.shape[0]
    fixed = jax.lax.stop_gradient(xs)

    def closest(i, x):
        far = size_of(x[None] - fixed, norm)
        far = jnp.where(jnp.arange(n) == i, jnp.inf, far)
        return smallest(far, k)[1]

    index = each_row(closest, fixed, chunk)
    size = size_of(xs[:, None] - xs[index], norm)
    least = resolution(xs)
    if norm == "euclidean":
        least = least**2
    log_size = jnp.log(jnp.where(size > least, size, least))
    return log_size / 2 if norm == "euclidean" else log_size
