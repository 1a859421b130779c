"""Configurations of m points up to translation: orthonormal coordinates of the subspace whose
centre of mass is zero.
"""

import functools

import jax.numpy as jnp
import numpy as np


def centre(x):
    """x [..., m, d] with its centre of mass moved to 0. Source: definition."""
    return x - jnp.mean(x, -2, keepdims=True)


def helmert(x):
    """The m - 1 orthonormal coordinates [..., m - 1, d] of m points x [..., m, d] less their centre
    of mass.

    `helmert(unhelmert(y)) = y`, and `unhelmert(helmert(x)) = centre(x)`; lengths and inner products
    are kept. Raises ValueError on fewer than two points. Source: Helmert 1876; Dryden and Mardia
    2016.
    """
    if jnp.ndim(x) < 2 or x.shape[-2] < 2:
        raise ValueError(f"math.helmert: x must be [..., m, d] with m > 1; got {jnp.shape(x)}")
    matrix = jnp.asarray(_matrix(x.shape[-2]), x.dtype)
    return jnp.einsum("ij,...jd->...id", matrix, x, precision="highest")


def unhelmert(y):
    """The m points [..., m, d] with centre of mass 0 whose `helmert` coordinates are y [..., m - 1,
    d].

    Raises ValueError on y without these axes. Source: as `helmert`.
    """
    if jnp.ndim(y) < 2:
        raise ValueError(f"math.unhelmert: y must be [..., m - 1, d]; got {jnp.shape(y)}")
    matrix = jnp.asarray(_matrix(y.shape[-2] + 1), y.dtype)
    return jnp.einsum("ij,...id->...jd", matrix, y, precision="highest")


@functools.cache
def _matrix(m):
    """Helmert's matrix [m - 1, m] without its first row."""
    rows = np.arange(1, m)[:, None]
    columns = np.arange(m)[None]
    values = np.where(columns < rows, 1.0, np.where(columns == rows, -1.0 * rows, 0.0))
    return values / np.sqrt(rows * (rows + 1.0))
