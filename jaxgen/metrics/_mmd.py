"""Maximum mean discrepancy: the distance between two mean embeddings.

    MMD²(p, q) = E k(x, x') + E k(y, y') - 2 E k(x, y)

Gram matrices are made in tiles and summed, so memory does not grow with n · m.

Sources: Gretton et al. 2012, A kernel two-sample test, equations 3 (unbiased) and 5 (biased);
Bińkowski et al. 2018, arXiv:1801.01401 (the kernel distance of features); Efron and Stein 1981,
The jackknife estimate of variance.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.kernels import moments, polynomial, quadratic, row_means
from jaxgen.metrics._clouds import estimator_name, points

Array = jax.Array


class Estimate(NamedTuple):
    """A number and how far it may be off."""

    value: Array  # []
    standard_error: Array  # [], of the value, in its own units


def itself(kernel, xs):
    """kernel(x, x) at every point, [n]."""
    return jax.vmap(lambda x: kernel(x, x))(xs)


def without_self(kernel, xs, chunk):
    """The mean of k(x_i, x_j) over j != i, for every i: [n]."""
    n = xs.shape[0]
    return (n * row_means(kernel, xs, xs, chunk=chunk) - itself(kernel, xs)) / (n - 1)


def mmd2(
    xs: Array,
    ys: Array,
    kernel: Callable[[Array, Array], Array],
    *,
    estimator: str = "unbiased",
    chunk: int = 512,
) -> Array:
    """The squared maximum mean discrepancy, [], of two samples under a kernel.

    Args:
        xs: [n, *event], n >= 2.
        ys: [m, *event], m >= 2.
        kernel: (x [*event], y [*event]) -> [], symmetric.
        estimator: "unbiased" leaves out the pairs of a point with itself and may be negative;
            "biased" keeps them, is the distance between the two empirical laws, and is never
            negative.
        chunk: a tile of the Gram matrix is at most [chunk, chunk].

    Raises ValueError on a wrong name, unequal event shapes or too few points.
    Source: Gretton et al. 2012, equations 3 and 5.
    """
    estimator_name("mmd2", estimator)
    xs, ys = points("mmd2", xs, ys, least=2)

    def inside(a):
        mean, n = quadratic(kernel, a, chunk=chunk), a.shape[0]
        if estimator == "biased":
            return mean
        return (n * mean - jnp.mean(itself(kernel, a))) / (n - 1)

    return inside(xs) + inside(ys) - 2 * jnp.mean(row_means(kernel, xs, ys, chunk=chunk))


def kernel_distance(
    xs: Array,
    ys: Array,
    *,
    kernel: Callable[[Array, Array], Array] | None = None,
    chunk: int = 512,
) -> Estimate:
    """The unbiased squared MMD and its standard error, an Estimate of two [], on features.

    The default kernel is (<x, y> / d + 1)³. The value is unbiased at every n (it may be negative),
    so values at different n can be compared.

    Args:
        xs: [n, *event], n >= 3.
        ys: [m, *event], m >= 3.
        kernel: (x [*event], y [*event]) -> []; None is `kernels.polynomial(3)`.
        chunk: a tile of the Gram matrix is at most [chunk, chunk].

    Raises ValueError on unequal event shapes or too few points.
    Source: Bińkowski et al. 2018, arXiv:1801.01401, section 3. Deviation: all points at once with a
    two-sample jackknife for the error (Efron and Stein 1981: too large on average, by up to √2
    where the laws are equal), where the paper averages over random subsets.
    """
    xs, ys = points("kernel_distance", xs, ys, least=3)
    kernel = polynomial(3) if kernel is None else kernel
    own_x, own_y = without_self(kernel, xs, chunk), without_self(kernel, ys, chunk)
    cross = moments(kernel, xs, ys, chunk=chunk)
    value = jnp.mean(own_x) + jnp.mean(own_y) - 2 * jnp.mean(cross.rows)
    variance = _left_out(own_x, cross.rows) + _left_out(own_y, cross.columns)
    return Estimate(value, jnp.sqrt(variance))


def _left_out(own, cross):
    """The jackknife variance over leaving out one point; own and cross are its row means, [n]."""
    n = own.shape[0]
    # Leaving i out moves the within mean by 2 (mean - own_i) / (n - 2), the cross one by 1 / (n -
    # 1).
    shift = 2 * (jnp.mean(own) - own) / (n - 2) - 2 * (jnp.mean(cross) - cross) / (n - 1)
    return (n - 1) / n * jnp.sum(shift**2)
