"""Powers of the inner product: moments up to a degree.

Source: Bińkowski et al. 2018, arXiv:1801.01401, section 3 (the cubic kernel of feature distances).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

Array = jax.Array


def _polynomial(degree, scale, offset, x, y):
    dtype = jnp.result_type(x, y, float)
    scale = jnp.asarray(1 / max(x.size, 1) if scale is None else scale, dtype)
    return (scale * jnp.vdot(x, y) + jnp.asarray(offset, dtype)) ** degree


@functools.cache
def _of_degree(degree):
    return functools.partial(_polynomial, degree)


def polynomial(degree: int = 3, scale=None, offset=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> (scale <x, y> + offset)^degree [].

    `scale=None` is 1 / d, with d the number of entries of one point. It sees the moments of a law
    up to `degree` and no others, so it does not tell every two laws apart.
    Raises ValueError unless degree is an integer of at least 1.
    Source: Bińkowski et al. 2018, arXiv:1801.01401, section 3.
    """
    if not isinstance(degree, int) or degree < 1:
        raise ValueError(f"polynomial: degree must be an integer of at least 1; got {degree!r}")
    return Partial(_of_degree(degree), scale, offset)
