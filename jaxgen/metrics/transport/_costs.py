"""Ground costs of one pair of points, and the matrix of all pairs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels import gram
from jaxgen.metrics._clouds import finite, flat

Array = jax.Array


def squared_euclidean(x: Array, y: Array) -> Array:
    """|x - y|², [], of two points [*event]. Source: definition."""
    return jnp.sum((x - y) ** 2)


def euclidean(x: Array, y: Array) -> Array:
    """|x - y|, [], of two points [*event]; its gradient where they coincide is 0.

    Source: definition.
    """
    square = jnp.sum((x - y) ** 2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def manhattan(x: Array, y: Array) -> Array:
    """The sum of |x - y| over entries, [], of two points [*event]. Source: definition."""
    return jnp.sum(jnp.abs(x - y))


def cost_matrix(
    xs: Array, ys: Array, cost: Callable[[Array, Array], Array] = squared_euclidean
) -> Array:
    """The matrix [n, m] of cost(x, y) for points xs [n, *event] and ys [m, *event].

    Costs come from differences, never an expanded square: a copied point is at cost 0.

    Raises ValueError on unequal event shapes, no points, concrete values that are not finite.
    Source: Peyré and Cuturi 2019, arXiv:1803.00567, section 2.
    """
    event = jnp.shape(xs)[1:]
    xs, ys = flat("cost_matrix", xs, ys)
    matrix = gram(lambda x, y: cost(x.reshape(event), y.reshape(event)), xs, ys)
    finite("cost_matrix", "cost", matrix)
    return matrix
