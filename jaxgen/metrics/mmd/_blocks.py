"""Estimators that look at some of the pairs, and read their error from independent parts.

Sources: Gretton et al. 2012, A kernel two-sample test, section 6 (linear time); Zaremba, Gretton
and Blaschko 2013, arXiv:1307.1954 (blocks).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels import gram
from jaxgen.metrics._clouds import points
from jaxgen.metrics._mmd import Estimate

Array = jax.Array
Kernel = Callable[[Array, Array], Array]


def _paired(where, xs, ys, least):
    xs, ys = points(where, xs, ys, least=least)
    if xs.shape[0] != ys.shape[0]:
        raise ValueError(
            f"{where}: xs and ys must hold as many points; got {xs.shape[0]} and {ys.shape[0]}"
        )
    return xs, ys


def _mean(values):
    """The mean of independent values [b] and its standard error."""
    mean = jnp.mean(values)
    count = values.shape[0]
    variance = jnp.sum((values - mean) ** 2) / (count * (count - 1))
    some = variance > 0  # values that are all equal: an error of 0, with slope 0
    return Estimate(mean, jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0))


def linear(xs: Array, ys: Array, kernel: Kernel) -> Estimate:
    """The unbiased squared MMD over disjoint pairs of points, an Estimate of two [], in time n.

    The mean of h = k(x, x') + k(y, y') - k(x, y') - k(x', y) over points (2 i, 2 i + 1), which are
    independent: its variance is Var h / (n / 2). It depends on the order of the points; a last odd
    one is left out.

    Args:
        xs: [n, *event], n >= 4.
        ys: [n, *event].
        kernel: (x [*event], y [*event]) -> [].

    Raises ValueError on unequal shapes or too few points.
    Source: Gretton et al. 2012, lemma 14.
    """
    xs, ys = _paired("linear", xs, ys, 4)
    half = xs.shape[0] // 2
    split = lambda a: (a[: 2 * half : 2], a[1 : 2 * half : 2])
    (x, x_next), (y, y_next) = split(xs), split(ys)
    k = jax.vmap(kernel)
    return _mean(k(x, x_next) + k(y, y_next) - k(x, y_next) - k(x_next, y))


def block(xs: Array, ys: Array, kernel: Kernel, *, size: int | None = None) -> Estimate:
    """The mean of the unbiased squared MMD over disjoint blocks, an Estimate of two [].

    Blocks are independent, so their spread gives the standard error. Time grows as n · size; the
    points that fill no block are left out. It depends on the order of the points.

    Args:
        xs: [n, *event].
        ys: [n, *event].
        kernel: (x [*event], y [*event]) -> [].
        size: points of xs (and of ys) in a block, 2 <= size <= n / 2; None is about √n.

    Raises ValueError on unequal shapes, too few points or a size outside its range.
    Source: Zaremba, Gretton and Blaschko 2013, arXiv:1307.1954, equation 6.
    """
    xs, ys = _paired("block", xs, ys, 4)
    n = xs.shape[0]
    size = max(int(n**0.5), 2) if size is None else size
    if not isinstance(size, int) or not 2 <= size <= n // 2:
        raise ValueError(f"block: size must be an integer between 2 and {n // 2}; got {size!r}")
    count = n // size
    blocks = lambda a: a[: count * size].reshape(count, size, *a.shape[1:])
    off = 1 - jnp.eye(size, dtype=xs.dtype)

    @jax.checkpoint
    def one(pair):
        x, y = pair
        within = jnp.sum((gram(kernel, x, x) + gram(kernel, y, y)) * off) / (size * (size - 1))
        return within - 2 * jnp.mean(gram(kernel, x, y))

    return _mean(jax.lax.map(one, (blocks(xs), blocks(ys))))
