"""Manifolds made of nearest-neighbour balls: precision, recall, density, coverage, nearest points.

Around every point of a sample lies a ball that reaches to its k-th neighbour in the same sample;
the union is the sample's manifold. Distances are Euclidean, and those of differences (an expanded
square decides only where its rounding cannot matter), so a copied point is at distance 0 exactly.
Balls are closed: a sample covers itself, also where all its points are equal.

Sources: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2 (precision, recall); Naeem et
al. 2020, arXiv:2002.09797, section 3 (density, coverage).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics._closest import held, smallest
from jaxgen.metrics._clouds import flat

Array = jax.Array


class Nearest(NamedTuple):
    """The closest of some points to each of others."""

    index: Array  # [n], into ys
    distance: Array  # [n], Euclidean


def _radii(xs, k, chunk):
    """The squared distance of every point to its k-th neighbour in its own sample, [n]."""
    return smallest(xs, xs, k + 1, chunk)[0][:, -1]


def _check(where, xs, ys, k):
    xs, ys = flat(where, xs, ys)
    if not isinstance(k, int) or not 1 <= k < xs.shape[0]:
        raise ValueError(
            f"{where}: k must be an integer between 1 and the number of points around which balls "
            f"are drawn less one, {xs.shape[0] - 1}; got {k!r}"
        )
    return xs, ys


def nearest(xs: Array, ys: Array, *, chunk: int = 512) -> Nearest:
    """The nearest of ys to each of xs: Nearest(index [n] into ys, distance [n]).

    With samples as xs and training data as ys, a distance of 0 is a copy. Ties give the first. The
    gradient of the distance moves both points; at a copy it is 0.

    Args:
        xs: [n, *event].
        ys: [m, *event].
        chunk: points of xs treated at a time.

    Raises ValueError on unequal event shapes.
    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 1 (the distance NN_1).
    """
    xs, ys = flat("nearest", xs, ys)
    still = jax.lax.stop_gradient
    index = smallest(still(xs), still(ys), 1, chunk)[1][:, 0]
    square = jnp.sum((xs - ys[index]) ** 2, axis=1)
    apart = square > 0
    return Nearest(index, jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0))


def precision(xs: Array, ys: Array, *, k: int = 3, chunk: int = 512) -> Array:
    """The fraction, [] in [0, 1], of ys that lie in the manifold of xs: how real a sample is.

    Args:
        xs: the data, [n, *event].
        ys: the sample, [m, *event].
        k: which neighbour a ball around a point of xs reaches, 1 <= k < n.
        chunk: points treated at a time.

    Raises ValueError on unequal event shapes or k outside its range.
    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2.
    """
    xs, ys = _check("precision", xs, ys, k)
    radii = _radii(xs, k, chunk)
    return jnp.mean((held(ys, xs, radii, chunk) > 0).astype(xs.dtype))


def recall(xs: Array, ys: Array, *, k: int = 3, chunk: int = 512) -> Array:
    """The fraction, [] in [0, 1], of xs that lie in the manifold of ys: how much a sample covers.

    Args:
        xs: the data, [n, *event].
        ys: the sample, [m, *event].
        k: which neighbour a ball around a point of ys reaches, 1 <= k < m.
        chunk: points treated at a time.

    Raises ValueError on unequal event shapes or k outside its range.
    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2.
    """
    _check("recall", ys, xs, k)
    return precision(ys, xs, k=k, chunk=chunk)


def density(xs: Array, ys: Array, *, k: int = 5, chunk: int = 512) -> Array:
    """How many balls around xs hold a point of ys, on average, over k: [] >= 0, 1 on equal laws.

    Unlike precision it is not fooled by one outlier among xs, whose ball is wide.

    Args:
        xs: the data, [n, *event].
        ys: the sample, [m, *event].
        k: which neighbour a ball around a point of xs reaches, 1 <= k < n.
        chunk: points treated at a time.

    Raises ValueError on unequal event shapes or k outside its range.
    Source: Naeem et al. 2020, arXiv:2002.09797, section 3; its mean is exactly 1 on equal laws. On
    a copy of xs it is (k + 1) / k, for balls are closed here and open in the paper's code.
    """
    xs, ys = _check("density", xs, ys, k)
    radii = _radii(xs, k, chunk)
    return jnp.mean(held(ys, xs, radii, chunk).astype(xs.dtype)) / k


def coverage(xs: Array, ys: Array, *, k: int = 5, chunk: int = 512) -> Array:
    """The fraction, [] in [0, 1], of balls around xs that hold at least one point of ys.

    Args:
        xs: the data, [n, *event].
        ys: the sample, [m, *event].
        k: which neighbour a ball around a point of xs reaches, 1 <= k < n.
        chunk: points treated at a time.

    Raises ValueError on unequal event shapes or k outside its range.
    Source: Naeem et al. 2020, arXiv:2002.09797, section 3; on equal laws its mean is
    1 - Π_{i<k} (n - 1 - i) / (n + m - 1 - i).
    """
    xs, ys = _check("coverage", xs, ys, k)
    radii = _radii(xs, k, chunk)
    closest = smallest(xs, ys, 1, chunk)[0][:, 0]
    return jnp.mean((closest <= radii).astype(xs.dtype))
