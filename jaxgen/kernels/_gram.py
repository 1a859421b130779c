"""All pairs of two clouds: the Gram matrix, and sums over it that never hold it.

A sum goes over tiles of at most `chunk` by `chunk` pairs, each small enough for a cache, and keeps
none of them, in reverse mode neither: there every tile is made a second time. A kernel that has a
method `matrix(xs [n, *event], ys [m, *event]) -> [n, m]` makes its tiles by it (the kernels of this
room do, by a matrix product where there is one); any other is mapped over the pairs.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Kernel = Callable[[Array, Array], Array]


def gram(kernel: Kernel, xs: Array, ys: Array) -> Array:
    """The matrix [n, m] of kernel(x, y) for points xs [n, *event] and ys [m, *event].

    Source: Rasmussen and Williams 2006, section 4.1.
    """
    matrix = getattr(kernel, "matrix", None)
    if matrix is not None:
        return matrix(xs, ys)
    return jax.vmap(lambda x: jax.vmap(lambda y: kernel(x, y))(ys))(xs)


def _tiled(xs, chunk, fill=None):
    """xs [n, ...] as tiles [b, size, ...] of equal size; the last is filled up, with its last row.

    A copy adds no pair that was not there, so no value or slope that could not be had; `fill` is
    another number to fill up with.
    """
    n, rest = xs.shape[0], xs.shape[1:]
    count = max(-(-n // chunk), 1)
    size = -(-n // count)
    last = xs[-1:] if fill is None else jnp.full_like(xs[-1:], fill)
    more = jnp.broadcast_to(last, (count * size - n, *rest))
    return jnp.concatenate([xs, more]).reshape(count, size, *rest)


def _weighted(kernel, xs, ys, weights):
    """One tile times its weights, [r] or [r, p]."""
    values = gram(kernel, xs, ys)
    return jnp.matmul(values, weights, precision=jax.lax.Precision.HIGHEST)


def _check(where, chunk):
    if not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"{where}: chunk must be an integer of at least 1; got {chunk!r}")


def _dtype(kernel, xs, ys):
    return jax.eval_shape(lambda x, y: gram(kernel, x, y), xs[:1], ys[:1]).dtype


# Inside a scan nothing is shared between the two passes, so no barrier is needed.
_forget = lambda fn: jax.checkpoint(fn, prevent_cse=False)


def weighted_sums(
    kernel: Kernel, xs: Array, ys: Array, weights: Array, *, chunk: int = 512
) -> Array:
    """The Gram matrix times weights, Σ_j kernel(x_i, y_j) w_j: [n], or [n, p] for p columns.

    Args:
        kernel: (x [*event], y [*event]) -> [].
        xs: [n, *event].
        ys: [m, *event].
        weights: [m] or [m, p].
        chunk: a tile of pairs is at most [chunk, chunk]; memory does not grow with n · m.

    Raises ValueError on weights of another length or a chunk below 1.
    Source: Rasmussen and Williams 2006, section 4.1.
    """
    _check("weighted_sums", chunk)
    if weights.ndim not in (1, 2) or weights.shape[0] != ys.shape[0]:
        raise ValueError(
            f"weighted_sums: weights must be [m] or [m, p] with m = {ys.shape[0]}; "
            f"got {weights.shape}"
        )
    n, dtype = xs.shape[0], _dtype(kernel, xs, ys)
    weights = weights.astype(dtype)
    if n <= chunk and ys.shape[0] <= chunk:
        return _weighted(kernel, xs, ys, weights)
    columns = _tiled(ys, chunk), _tiled(weights, chunk, fill=0)
    tile = _forget(lambda *pairs: _weighted(kernel, *pairs))

    def row(x):
        add = lambda total, column: (total + tile(x, *column), None)
        start = jnp.zeros((x.shape[0], *weights.shape[1:]), dtype)
        return jax.lax.scan(add, start, columns)[0]

    sums = jax.lax.map(_forget(row), _tiled(xs, chunk))
    return sums.reshape(-1, *weights.shape[1:])[:n]


def row_means(kernel: Kernel, xs: Array, ys: Array, *, chunk: int = 512) -> Array:
    """The mean over ys [m, *event] of kernel(x, y), [n], for every x of xs [n, *event].

    Tiles of at most [chunk, chunk] pairs are made and dropped: memory does not grow with n · m.
    Raises ValueError on a chunk below 1.
    Source: Rasmussen and Williams 2006, section 4.1.
    """
    _check("row_means", chunk)
    m = ys.shape[0]
    return weighted_sums(kernel, xs, ys, jnp.ones(m, xs.dtype), chunk=chunk) / m


def quadratic(
    kernel: Kernel, xs: Array, weights: Array | None = None, *, chunk: int = 512
) -> Array:
    """The quadratic form Σ_ij w_i w_j kernel(x_i, x_j), [], of one cloud; pairs are made once.

    Args:
        kernel: (x [*event], y [*event]) -> [], symmetric.
        xs: [n, *event].
        weights: [n]; None is 1 / n each, which gives the mean.
        chunk: a tile of pairs is at most [chunk, chunk]; memory does not grow with n².

    Raises ValueError on weights of another length or a chunk below 1.
    Source: Gretton et al. 2012, equation 5.
    """
    _check("quadratic", chunk)
    n, dtype = xs.shape[0], _dtype(kernel, xs, xs)
    weights = jnp.full(n, 1 / n, dtype) if weights is None else weights.astype(dtype)
    if weights.shape != (n,):
        raise ValueError(f"quadratic: weights must be [n] with n = {n}; got {weights.shape}")
    form = lambda x, w, y, v: jnp.vdot(w, _weighted(kernel, x, y, v))
    if n <= chunk:
        return form(xs, weights, xs, weights)
    x, w = _tiled(xs, chunk), _tiled(weights, chunk, fill=0)
    count = x.shape[0]
    # Tile i meets tiles i, i + 1, ... half-way round the ring: every pair of tiles once (twice on
    # the far side of an even ring), so the off-diagonal ones count double.
    far = count // 2
    times = jnp.full(far + 1, 2.0, dtype).at[0].set(1)
    if count % 2 == 0:
        times = times.at[-1].set(1)
    ring_x, ring_w = jnp.concatenate([x, x[:far]]), jnp.concatenate([w, w[:far]])
    tile = _forget(form)

    def row(i):
        ahead = lambda ring: jax.lax.dynamic_slice_in_dim(ring, i, far + 1)
        add = lambda total, here: (total + here[2] * tile(x[i], w[i], here[0], here[1]), None)
        columns = ahead(ring_x), ahead(ring_w), times
        return jax.lax.scan(add, jnp.zeros((), dtype), columns)[0]

    return jnp.sum(jax.lax.map(_forget(row), jnp.arange(count)))


class Moments(NamedTuple):
    """What one pass over a Gram matrix [n, m] leaves. Source: definition."""

    rows: Array  # [n], the mean of every row
    columns: Array  # [m], the mean of every column
    square: Array  # [], the mean of the squared entries


def moments(kernel: Kernel, xs: Array, ys: Array, *, chunk: int = 512) -> Moments:
    """Row means, column means and the mean square of the Gram matrix: Moments([n], [m], []).

    Args:
        kernel: (x [*event], y [*event]) -> [].
        xs: [n, *event].
        ys: [m, *event].
        chunk: a tile of pairs is at most [chunk, chunk]; memory does not grow with n · m.

    Raises ValueError on a chunk below 1.
    Source: Rasmussen and Williams 2006, section 4.1.
    """
    _check("moments", chunk)
    (n, m), dtype = (xs.shape[0], ys.shape[0]), _dtype(kernel, xs, ys)
    x, y = _tiled(xs, chunk), _tiled(ys, chunk)
    w, v = (_tiled(jnp.ones(size, dtype), chunk, fill=0) for size in (n, m))

    def sums(x, w, y, v):
        values = gram(kernel, x, y) * (w[:, None] * v[None, :])
        return jnp.sum(values, axis=1), jnp.sum(values, axis=0), jnp.sum(values * values)

    tile = _forget(sums)

    def row(carry, here):
        columns, square = carry

        def step(total, there):
            across, down, squared = tile(*here, *there)
            return (total[0] + across, total[1] + squared), down

        start = (jnp.zeros(here[0].shape[:1], dtype), jnp.zeros((), dtype))
        (across, squared), down = jax.lax.scan(step, start, (y, v))
        return (columns + down, square + squared), across

    start = (jnp.zeros(v.shape, dtype), jnp.zeros((), dtype))
    (columns, square), across = jax.lax.scan(_forget(row), start, (x, w))
    return Moments(across.reshape(-1)[:n] / m, columns.reshape(-1)[:m] / n, square / n / m)
