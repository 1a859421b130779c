"""Squared distances and sums over axes, for all pairs of two small clouds."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array

FEW = 8  # up to this many axes a sum over differences costs no more than a matrix product


def rows(xs: Array) -> Array:
    """The points as rows: [n, *event] -> [n, d]."""
    return xs.reshape(xs.shape[0], -1)


def over_axes(term: Callable[[Array], Array], xs: Array, ys: Array) -> Array:
    """The sum over axes of term(x_a - y_a), [n, m], for points xs [n, d] and ys [m, d]."""
    one = lambda x, y: term(x[:, None] - y[None, :])
    if xs.shape[1] <= FEW:
        return sum(one(xs[:, a], ys[:, a]) for a in range(xs.shape[1]))
    add = lambda total, axis: (total + jax.checkpoint(one, prevent_cse=False)(*axis), None)
    start = one(xs[:, 0], ys[:, 0])
    return jax.lax.scan(add, start, (xs[:, 1:].T, ys[:, 1:].T))[0]


def squares(xs: Array, ys: Array) -> Array:
    """The squared distances |x - y|², [n, m], of points xs [n, d] and ys [m, d].

    Above a few axes by |x|² + |y|² - 2 <x, y> about the mean of ys, whose error is of the order of
    d eps (|x|² + |y|²); pairs that are closer than that allows are done again by differences, so
    that a copied point is at distance 0 exactly. Only clouds that have such pairs pay for them.
    """
    if xs.shape[1] <= FEW:
        return over_axes(jnp.square, xs, ys)
    centre = jax.lax.stop_gradient(jnp.mean(ys, axis=0, keepdims=True))
    x, y = xs - centre, ys - centre
    own_x, own_y = jnp.sum(x * x, axis=1), jnp.sum(y * y, axis=1)
    inner = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    square = own_x[:, None] + own_y[None, :] - 2 * inner
    least = 16 * xs.shape[1] * jnp.finfo(xs.dtype).eps * (own_x + jnp.max(own_y))
    again = lambda: jnp.where(square <= least[:, None], over_axes(jnp.square, xs, ys), square)
    return jax.lax.cond(jnp.any(jnp.min(square, axis=1) <= least), again, lambda: square)
