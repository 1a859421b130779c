"""Wasserstein distances that need only sorting: on the line, and averaged over lines.

On the line the optimal coupling is the monotone one, W_p^p = ∫ |F⁻¹(u) - G⁻¹(u)|^p du. Quantile
functions of samples are steps at i/n and j/m; the merged steps are counted in integers, so the
value is exact for unequal n and m.

Sources: Peyré and Cuturi 2019, arXiv:1803.00567, remark 2.30 (line); Bonneel et al. 2015, Sliced
and Radon Wasserstein barycenters of measures (sliced).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._clouds import flat

Array = jax.Array


def _steps(n, m):
    """Where both quantile functions are constant: index in x, index in y, and length, each [r]."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / (n m)
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


def _line(xs, ys, p):
    xs, ys = jnp.sort(xs), jnp.sort(ys)
    if xs.shape == ys.shape:
        return jnp.mean(jnp.abs(xs - ys) ** p)
    i, j, length = _steps(xs.shape[0], ys.shape[0])
    return jnp.sum(jnp.asarray(length, xs.dtype) * jnp.abs(xs[i] - ys[j]) ** p)


def _power(where, p):
    if not isinstance(p, jax.core.Tracer) and not 1 <= p < float("inf"):
        raise ValueError(f"{where}: p must be at least 1 and finite; got {p}")


def wasserstein_1d(xs: Array, ys: Array, *, p: float = 1) -> Array:
    """W_p^p, the p-th power of the Wasserstein distance of two samples on the line, [].

    Args:
        xs: [n], floating.
        ys: [m]; n and m may differ.
        p: at least 1; the unit of the result is that of x to the p.

    Raises ValueError unless xs and ys are [n] and [m] and p >= 1.
    Source: Peyré and Cuturi 2019, arXiv:1803.00567, remark 2.30.
    """
    _power("wasserstein_1d", p)
    if jnp.ndim(xs) != 1 or jnp.ndim(ys) != 1:
        shapes = jnp.shape(xs), jnp.shape(ys)
        raise ValueError(f"wasserstein_1d: xs [n] and ys [m] must be on the line; got {shapes}")
    xs, ys = flat("wasserstein_1d", xs, ys)
    return _line(xs[:, 0], ys[:, 0], p)


def sliced_wasserstein(
    key: Array, xs: Array, ys: Array, *, num_projections: int = 128, p: float = 2
) -> Array:
    """SW_p^p, the mean over random directions of W_p^p of the projected samples, [].

    For a translation by m and p = 2 its mean over directions is |m|² / d.

    Args:
        key: draws the directions, uniform on the unit sphere of the flattened event.
        xs: [n, *event].
        ys: [m, *event]; n and m may differ.
        num_projections: how many directions; the error falls as its inverse square root.
        p: at least 1.

    Raises ValueError on unequal event shapes, num_projections < 1 or p < 1.
    Source: Bonneel et al. 2015.
    """
    _power("sliced_wasserstein", p)
    if num_projections < 1:
        raise ValueError(
            f"sliced_wasserstein: num_projections must be at least 1; got {num_projections}"
        )
    xs, ys = flat("sliced_wasserstein", xs, ys)
    direction = jax.random.normal(key, (num_projections, xs.shape[1]), xs.dtype)
    direction = direction / jnp.linalg.norm(direction, axis=1, keepdims=True)
    across = lambda a, b: _line(a, b, p)
    return jnp.mean(jax.vmap(across)(direction @ xs.T, direction @ ys.T))
