"""Exact neighbours at the speed of a matrix product.

A matrix product bounds every squared distance from both sides: with x, y about the mean of ys,

    |x - y|² = (|x|² + |y|²)(1 ± tolerance) - 2 <x, y>,   tolerance = (3 d + 20) eps,

which covers the rounding of the product and of a sum of squared differences alike. Only blocks of
points that the bounds cannot decide are looked at again, by differences, so answers are those of
differences for every pair: a copied point is at distance 0, and ties are ties. Data of many ties
cost more time, never another answer.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, equation 3.5 (rounding of
inner products).
"""

import jax
import jax.numpy as jnp

Array = jax.Array

BLOCK = 64  # points looked at again together
BLOCKS = 8  # blocks in one matrix product


def row_blocks(fn, xs, chunk):
    """fn(x [r, d]) -> tree of [r, ...] over rows xs [n, d], at most `chunk` of them at a time."""
    n = xs.shape[0]
    count = -(-n // chunk)
    size = -(-n // count)
    more = jnp.broadcast_to(xs[-1:], (count * size - n, *xs.shape[1:]))
    out = jax.lax.map(fn, jnp.concatenate([xs, more]).reshape(count, size, *xs.shape[1:]))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], out)


def _in_blocks(ys, fill):
    """ys [m, ...] as [tiles, blocks, BLOCK, ...]; what is missing is `fill`."""
    count = -(-ys.shape[0] // BLOCK)
    tiles = -(-count // BLOCKS)
    blocks = -(-count // tiles)
    lack = tiles * blocks * BLOCK - ys.shape[0]
    more = jnp.broadcast_to(fill, (lack, *ys.shape[1:])).astype(ys.dtype)
    return jnp.concatenate([ys, more]).reshape(tiles, blocks, BLOCK, *ys.shape[1:])


def _bounds(x, y):
    """Lower bounds [r, c] of the squared distances of x [r, d] and y [c, d], and their width."""
    centre = jnp.mean(y, axis=0, keepdims=True)
    x, y = x - centre, y - centre
    tolerance = (3 * x.shape[1] + 20) * jnp.finfo(x.dtype).eps
    inner = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    scale = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None, :]
    return (1 - tolerance) * scale - 2 * inner, 2 * tolerance * scale


def _by_blocks(reduce, x, tiles, *more):
    """reduce(bounds of x and one tile, *more of the tile) -> [r, blocks], joined: [r, all]."""

    def one(here):
        y = here[0].reshape(-1, x.shape[1])
        return reduce(*_bounds(x, y), *here[1:])

    out = jax.lax.map(one, (tiles, *more))  # [tiles, r, blocks]
    return jnp.moveaxis(out, 0, 1).reshape(x.shape[0], -1)


def _squares(x, points, block):
    """By differences, [r, BLOCK]: of x [r, d] and the points of a block [r] for each of them."""
    return jnp.sum((x[:, None] - points[block]) ** 2, axis=-1)


def _struck(table, block, where):
    """The table [r, blocks] with inf (or False) at one block a row, where told to."""
    hit = (jnp.arange(table.shape[1])[None, :] == block[:, None]) & where[:, None]
    return jnp.where(hit, jnp.inf if table.dtype != bool else False, table)


def smallest(xs: Array, ys: Array, k: int, chunk: int) -> tuple[Array, Array]:
    """The k smallest squared distances of each of xs [n, d] to ys [m, d], and where: two [n, k].

    Rising; ties in the order of ys.
    """
    m = ys.shape[0]
    tiles = _in_blocks(ys, ys[-1])
    points = tiles.reshape(-1, BLOCK, ys.shape[1])
    least = lambda low, _: jnp.min(low.reshape(low.shape[0], -1, BLOCK), axis=-1)

    def wanted(low, square, index):
        block = jnp.argmin(low, axis=1)
        bound = jnp.take_along_axis(low, block[:, None], axis=1)[:, 0]
        tie = (bound == square[:, -1]) & (block * BLOCK < index[:, -1])
        return low, square, index, block, (bound < jnp.inf) & ((bound < square[:, -1]) | tie)

    def look(x, state):
        low, square, index, block, want = state
        at = block[:, None] * BLOCK + jnp.arange(BLOCK)[None, :]
        new = jnp.where(want[:, None] & (at < m), _squares(x, points, block), jnp.inf)
        both = (
            jnp.concatenate([square, new], axis=1),
            jnp.concatenate([index, at.astype(index.dtype)], axis=1),
        )
        square, index = (a[:, :k] for a in jax.lax.sort(both, dimension=1, num_keys=2))
        return wanted(_struck(low, block, want), square, index)

    def rows(x):
        low = _by_blocks(least, x, tiles)
        low = jnp.where(jnp.isnan(low), 0, jnp.maximum(low, 0))  # an overflow decides nothing
        start = wanted(
            low,
            jnp.full((x.shape[0], k), jnp.inf, x.dtype),
            jnp.full((x.shape[0], k), m, jnp.int32),
        )
        more = lambda state: jnp.any(state[-1])
        return jax.lax.while_loop(more, lambda state: look(x, state), start)[1:3]

    return row_blocks(rows, xs, chunk)


def held(ys: Array, xs: Array, radii: Array, chunk: int) -> Array:
    """How many closed balls around xs [n, d], of squared radii [n], hold each of ys [m, d]: [m]."""
    tiles = _in_blocks(xs, xs[-1])
    reach = _in_blocks(radii, jnp.full((), -1, radii.dtype))
    points, reaches = tiles.reshape(-1, BLOCK, xs.shape[1]), reach.reshape(-1, BLOCK)

    def count(low, width, r):
        r = r.reshape(-1)[None, :]
        surely, perhaps = low + width <= r, ~(low > r)
        both = surely.astype(jnp.int32) + perhaps.astype(jnp.int32) * 256
        return jnp.sum(both.reshape(low.shape[0], -1, BLOCK), axis=-1)

    def look(y, state):
        total, unsure = state
        block, want = jnp.argmax(unsure, axis=1), jnp.any(unsure, axis=1)
        inside = jnp.sum(_squares(y, points, block) <= reaches[block], axis=1)
        return total + jnp.where(want, inside, 0), _struck(unsure, block, want)

    def rows(y):
        both = _by_blocks(count, y, tiles, reach)
        surely, perhaps = both % 256, both // 256
        unsure = perhaps != surely
        total = jnp.sum(jnp.where(unsure, 0, surely), axis=1)
        more = lambda state: jnp.any(state[1])
        return jax.lax.while_loop(more, lambda state: look(y, state), (total, unsure))[0]

    return row_blocks(rows, ys, chunk)
