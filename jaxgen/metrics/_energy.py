"""The energy distance: maximum mean discrepancy with the kernel -|x - y|.

Source: Székely and Rizzo 2013, Energy statistics, section 2; Sejdinovic et al. 2013,
arXiv:1207.6076 (the equivalence).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import mmd2

Array = jax.Array


def _minus_distance(x, y):
    square = jnp.sum((x - y) ** 2)
    return -jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def energy_distance(
    xs: Array, ys: Array, *, estimator: str = "unbiased", chunk: int = 1024
) -> Array:
    """The energy distance 2 E|x - y| - E|x - x'| - E|y - y'|, [], in units of x.

    Args:
        xs: [n, *event], n >= 2.
        ys: [m, *event], m >= 2.
        estimator: "unbiased" (may be negative) or "biased" (the distance between empirical laws).
        chunk: rows of pairs made at a time.

    Raises ValueError on a wrong name, unequal event shapes or too few points.
    Source: Székely and Rizzo 2013, section 2. scipy's function of this name is the square root
    of the biased form.
    """
    return mmd2(xs, ys, _minus_distance, estimator=estimator, chunk=chunk)
