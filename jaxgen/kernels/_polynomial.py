"""Powers of the inner product: moments up to a degree.

Source: Bińkowski et al. 2018, arXiv:1801.01401, section 3 (the cubic kernel of feature distances).
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels._pairs import rows

Array = jax.Array


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["scale", "offset"], meta_fields=["degree"]
)
@dataclasses.dataclass(frozen=True)
class Polynomial:
    """A kernel of <x, y>; `matrix` makes all pairs by a matrix product."""

    degree: int
    scale: Array | None  # [], or 1 / d
    offset: Array  # []

    def _of(self, inner, size):
        scale = 1 / max(size, 1) if self.scale is None else self.scale
        dtype = inner.dtype
        return (jnp.asarray(scale, dtype) * inner + jnp.asarray(self.offset, dtype)) ** self.degree

    def __call__(self, x: Array, y: Array) -> Array:
        """The value [] at one pair of points [*event]."""
        inner = jnp.vdot(x, y)
        return self._of(inner.astype(jnp.result_type(inner, float)), x.size)

    def matrix(self, xs: Array, ys: Array) -> Array:
        """The values [n, m] at all pairs of xs [n, *event] and ys [m, *event]."""
        xs, ys = rows(xs), rows(ys)
        inner = jnp.matmul(xs, ys.T, precision=jax.lax.Precision.HIGHEST)
        return self._of(inner.astype(jnp.result_type(inner, float)), xs.shape[1])


def polynomial(degree: int = 3, scale=None, offset=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> (scale <x, y> + offset)^degree [].

    `scale=None` is 1 / d, with d the number of entries of one point. It sees the moments of a law
    up to `degree` and no others, so it does not tell every two laws apart.
    Raises ValueError unless degree is an integer of at least 1.
    Source: Bińkowski et al. 2018, arXiv:1801.01401, section 3.
    """
    if not isinstance(degree, int) or degree < 1:
        raise ValueError(f"polynomial: degree must be an integer of at least 1; got {degree!r}")
    return Polynomial(degree, scale, offset)
