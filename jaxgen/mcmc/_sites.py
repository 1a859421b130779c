"""Arrays of sites with finitely many values, in two writings: numbers such as 0/1, -1/+1 or
0..k-1 in x [*event], or one-hot rows in x [*sites, k].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete

ONE_HOT = "one_hot"


class Sites(NamedTuple):
    """How a kernel reads and writes n sites with values 0..k-1. Source: definition."""

    index: Callable  # x -> [n], which value each site has
    write: Callable  # (index [n], like x) -> x
    slopes: Callable  # (gradient like x, index [n]) -> [n, k], first-order changes of log p
    squares: Callable  # (index [n], k) -> [n, k], squared distances from the present values


def sites(where, values):
    """The `Sites` of values: "one_hot", or the distinct numbers [k], k >= 2, that entries take."""
    if isinstance(values, str):
        if values != ONE_HOT:
            raise ValueError(f"{where}: values must be numbers or 'one_hot'; got {values!r}")
        return Sites(_hot_index, _hot_write, _hot_slopes, _hot_squares)
    table = np.asarray(values)
    if table.ndim != 1 or len(np.unique(table)) != len(table) or len(table) < 2:
        raise ValueError(f"{where}: values must be two or more distinct numbers [k]; got {values}")
    real = np.asarray(table, float)

    def index(x):
        return jnp.argmin(jnp.abs(jnp.reshape(x, (-1, 1)) - real[None].astype(_real(x))), axis=1)

    def write(index, like):
        return jnp.asarray(table)[index].astype(like.dtype).reshape(like.shape)

    def away(index, dtype):
        held = jnp.asarray(real, dtype)
        return held[None] - held[index][:, None]

    slopes = lambda g, index: jnp.reshape(g, (-1, 1)) * away(index, g.dtype)
    return Sites(index, write, slopes, lambda index, like: away(index, like.dtype) ** 2)


def _real(x):
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)


def _hot_index(x):
    return jnp.argmax(x.reshape(-1, x.shape[-1]), axis=1)


def _hot_write(index, like):
    return jax.nn.one_hot(index, like.shape[-1], dtype=like.dtype).reshape(like.shape)


def _hot_slopes(g, index):
    g = g.reshape(-1, g.shape[-1])
    return g - jnp.take_along_axis(g, index[:, None], axis=1)


def _hot_squares(index, like):
    return 2 * (1 - jax.nn.one_hot(index, like.shape[1], dtype=like.dtype))


def real(x):
    """The array x [*event] in a floating dtype, so that it has gradients."""
    return x.astype(_real(x))


def valid_sites(where, law, x):
    """x as an array [*event]. Raises ValueError unless it is one whose entries are values."""
    if jax.tree.structure(x) != jax.tree.structure(0):
        raise ValueError(f"{where}: the position must be one array; got {jax.tree.structure(x)}")
    x = jnp.asarray(x)
    if x.ndim == 0:
        raise ValueError(f"{where}: the position must have an axis of sites; got shape ()")
    if is_concrete(x):
        with jax.ensure_compile_time_eval():
            fits = bool(jnp.all(law.write(law.index(x), x) == x))
        if not fits:
            raise ValueError(f"{where}: every site must have one of the values; got {x}")
    return x
