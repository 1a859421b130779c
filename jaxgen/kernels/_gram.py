"""All pairs of two clouds, whole or a block of rows at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array


def gram(kernel: Callable[[Array, Array], Array], xs: Array, ys: Array) -> Array:
    """The matrix [n, m] of kernel(x, y) for points xs [n, *event] and ys [m, *event].

    Source: Rasmussen and Williams 2006, section 4.1.
    """
    return jax.vmap(lambda x: jax.vmap(lambda y: kernel(x, y))(ys))(xs)


def row_means(
    kernel: Callable[[Array, Array], Array], xs: Array, ys: Array, *, chunk: int = 1024
) -> Array:
    """The mean over ys [m, *event] of kernel(x, y), [n], for every x of xs [n, *event].

    The rows of the Gram matrix are made `chunk` at a time and dropped: memory grows as chunk · m.
    Source: Rasmussen and Williams 2006, section 4.1.
    """
    row = lambda x: jnp.mean(jax.vmap(lambda y: kernel(x, y))(ys))
    if xs.shape[0] <= chunk:
        return jax.vmap(row)(xs)
    return jax.lax.map(row, xs, batch_size=chunk)
