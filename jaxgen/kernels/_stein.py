"""Langevin Stein kernels: functions of two points whose mean under a law is zero.

For a law with score s, and k a kernel,

    u(x, y) = k <s(x), s(y)> + <s(x), ∇_y k> + <s(y), ∇_x k> + tr ∇_x ∇_y k.

Sources: Liu, Lee and Jordan 2016, arXiv:1602.03253, theorem 3.6; Chwialkowski, Strathmann and
Gretton 2016, arXiv:1602.02964, section 2.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels._pairs import rows, squares
from jaxgen.kernels._radial import Radial

Array = jax.Array


def _of_one_pair(kernel, z, w):
    """Any kernel, by differentiation; z and w are (point, score), [2, d]."""
    (x, s), (y, r) = z, w
    slope_y = lambda x: jax.grad(kernel, argnums=1)(x, y)
    along = lambda e: jnp.vdot(e, jax.jvp(slope_y, (x,), (e,))[1])
    trace = jnp.sum(jax.lax.map(along, jnp.eye(x.size, dtype=x.dtype)))
    cross = jnp.vdot(s, slope_y(x)) + jnp.vdot(r, jax.grad(kernel)(x, y))
    return kernel(x, y) * jnp.vdot(s, r) + cross + trace


def _of_radial(profile, x, s, y, r):
    """Kernels of |x - y|² for all pairs, by four matrix products: [n, m]."""
    square = squares(x, y)
    slope = lambda q: jax.jvp(profile, (q,), (jnp.ones_like(q),))[1]
    first, second = jax.jvp(slope, (square,), (jnp.ones_like(square),))
    centre = jax.lax.stop_gradient(jnp.mean(y, axis=0, keepdims=True))
    x, y = x - centre, y - centre
    dot = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    # <s(y) - s(x), x - y>
    own = jnp.sum(x * s, axis=1)[:, None] + jnp.sum(y * r, axis=1)[None, :]
    towards = dot(x, r.T) + dot(s, y.T) - own
    return profile(square) * dot(s, r.T) + 2 * first * (towards - x.shape[1]) - 4 * second * square


@functools.partial(jax.tree_util.register_dataclass, data_fields=["kernel"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Stein:
    """A Stein kernel of pairs (point, score)."""

    kernel: Callable[[Array, Array], Array]

    def __call__(self, z: Array, w: Array) -> Array:
        """The value [] at one pair of (point, score) [2, *event]."""
        event = z.shape[1:]
        flat = lambda x, y: self.kernel(x.reshape(event), y.reshape(event))
        if isinstance(self.kernel, Radial):
            return self.matrix(z[None], w[None])[0, 0]
        return _of_one_pair(flat, z.reshape(2, -1), w.reshape(2, -1))

    def matrix(self, zs: Array, ws: Array) -> Array:
        """The values [n, m] at all pairs of zs [n, 2, *event] and ws [m, 2, *event]."""
        if not isinstance(self.kernel, Radial):
            return jax.vmap(lambda z: jax.vmap(lambda w: self(z, w))(ws))(zs)
        split = lambda a: (rows(a[:, 0]), rows(a[:, 1]))
        return _of_radial(self.kernel.profile, *split(zs), *split(ws))


def stein(kernel: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The Stein kernel of a kernel, ((x, s(x)) [2, *event], (y, s(y)) [2, *event]) -> [].

    Its points carry their scores. A kernel of |x - y|² takes matrix products; any other is
    differentiated pair by pair, which costs d more evaluations.
    Source: Liu, Lee and Jordan 2016, arXiv:1602.03253, theorem 3.6.
    """
    return Stein(kernel)
