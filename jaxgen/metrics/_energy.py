"""The energy distance: maximum mean discrepancy with the kernel -|x - y|.

Source: Székely and Rizzo 2013, Energy statistics, section 2; Sejdinovic et al. 2013,
arXiv:1207.6076 (the equivalence).
"""

import jax

from jaxgen.kernels import minus_distance
from jaxgen.metrics._mmd import mmd2

Array = jax.Array


def energy_distance(
    xs: Array, ys: Array, *, estimator: str = "unbiased", chunk: int = 512
) -> Array:
    """The energy distance 2 E|x - y| - E|x - x'| - E|y - y'|, [], in units of x.

    Args:
        xs: [n, *event], n >= 2.
        ys: [m, *event], m >= 2.
        estimator: "unbiased" (may be negative) or "biased" (the distance between empirical laws).
        chunk: a tile of pairs is at most [chunk, chunk].

    Raises ValueError on a wrong name, unequal event shapes or too few points.
    Source: Székely and Rizzo 2013, section 2. scipy's function of this name is the square root
    of the biased form.
    """
    return mmd2(xs, ys, minus_distance(), estimator=estimator, chunk=chunk)
