"""The unbiased squared MMD with the standard error that its own terms give.

By Hoeffding's decomposition the value U is a constant plus orthogonal parts of one and of two
points, so its variance is exactly

    4 V_x / n + 4 V_y / m + 2 K_xx / (n (n - 1)) + 2 K_yy / (m (m - 1)) + 4 K_xy / (n m)

with V_x the variance over x of the witness E k(x, x') - E k(x, y), and K the mean square of the
kernel less its row means and its column means. All of it is estimated from row means and mean
squares, one pass over each Gram matrix.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels import moments
from jaxgen.metrics._clouds import points
from jaxgen.metrics._mmd import Estimate, itself

Array = jax.Array


def _variance(values):
    return jnp.sum((values - jnp.mean(values)) ** 2) / (values.shape[0] - 1)


def _own(kernel, xs, chunk):
    """Row means without self [n], and the mean square of the doubly centred kernel []."""
    n = xs.shape[0]
    found, alone = moments(kernel, xs, xs, chunk=chunk), itself(kernel, xs)
    rows = (n * found.rows - alone) / (n - 1)
    square = (n * found.square - jnp.mean(alone**2)) / (n - 1)
    # E k² = K + 2 V + (E k)², and the spread of the row means is V + K / (n - 1).
    centred = square - 2 * _variance(rows) - jnp.mean(rows) ** 2
    return rows, jnp.maximum(centred / (1 - 2 / (n - 1)), 0)


def unbiased(
    xs: Array, ys: Array, kernel: Callable[[Array, Array], Array], *, chunk: int = 512
) -> Estimate:
    """The unbiased squared MMD and its standard error, an Estimate of two [].

    The error holds where the laws differ. Where they are equal its square is too large by a third
    on average, and the value's law is not normal: for a p-value use `two_sample.permutation_test`.
    All points equal: 0 and 0.

    Args:
        xs: [n, *event], n >= 4.
        ys: [m, *event], m >= 4.
        kernel: (x [*event], y [*event]) -> [], symmetric.
        chunk: a tile of the Gram matrix is at most [chunk, chunk].

    Raises ValueError on unequal event shapes or too few points.
    Source: Hoeffding 1948, A class of statistics with asymptotically normal distribution; Gretton
    et al. 2012, lemma 6 and theorem 8 (the two limits, which the variance here joins).
    """
    xs, ys = points("unbiased", xs, ys, least=4)
    n, m = xs.shape[0], ys.shape[0]
    (own_x, k_xx), (own_y, k_yy) = _own(kernel, xs, chunk), _own(kernel, ys, chunk)
    cross = moments(kernel, xs, ys, chunk=chunk)
    mean = jnp.mean(cross.rows)
    spread = _variance(cross.rows) + _variance(cross.columns)
    k_xy = jnp.maximum((cross.square - spread - mean**2) / (1 - 1 / n - 1 / m), 0)
    # The spread of the witness contains that of its own estimate.
    v_x = _variance(own_x - cross.rows) - k_xx / (n - 1) - k_xy / m
    v_y = _variance(own_y - cross.columns) - k_yy / (m - 1) - k_xy / n
    second = 2 * k_xx / (n * (n - 1)) + 2 * k_yy / (m * (m - 1)) + 4 * k_xy / (n * m)
    # Where the laws are equal v_x and v_y are noise about 0: they may take half, never more.
    variance = jnp.maximum(4 * v_x / n + 4 * v_y / m + second, second / 2)
    some = variance > 0
    error = jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)
    return Estimate(jnp.mean(own_x) + jnp.mean(own_y) - 2 * mean, error)
