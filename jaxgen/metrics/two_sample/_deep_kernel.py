"""Kernels on learned features, and what to maximise so that a two-sample test with them has power.

    k(x, y) = [(1 - eps) exp(-|f(x) - f(y)|² / (2 a²)) + eps] exp(-|x - y|² / (2 b²))

The power of a test on a large sample grows with its statistic over the statistic's own deviation
where the laws differ. `power_objective` is that ratio of MMD², `multi_population_objective` that of
MMD² without its term E k(y, y'): where ys are a mixture of several populations, maximising this
term pulls the populations together in features at the price of variance, and their laws need not
look alike for the two samples to differ. Its deviation is the smaller one where E k(X, y) varies
less over y than E k(Y', y) - E k(X, y) does: populations apart from x, not among its points. The
proxy is no distance: it is not 0 on equal laws. The test itself is the ordinary one,
`permutation_test` with the learned kernel on points it was not learned from.

With h_x(x) = E k(x, X') - E k(x, Y) and h_y(y) = E k(Y', y) - E k(X, y), the delta method for
U-statistics gives n m / (n + m) times the variance of MMD² as close to
4 (m Var h_x + n Var h_y) / (n + m); without E k(y, y'), h_y(y) = -E k(X, y).

Sources: Liu et al. 2020, arXiv:2002.09116 (deep kernels, the ratio); Zhang et al. 2024,
arXiv:2402.16041 (several populations, one instance); Hoeffding 1948 (the variance). Deviation: the
variance pairs no x with a y, so samples need not be of one size, and there is less noise in it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.kernels import gram
from jaxgen.metrics._clouds import finite, flat

Array = jax.Array
Kernel = Callable[[Array, Array], Array]


class DeepKernel(NamedTuple):
    """The numbers of a deep kernel; a pytree to be learned. Source: Liu et al. 2020, equation 1."""

    network: Any  # parameters of the features
    mix: Any  # [], the logit of eps
    log_features: Any  # [], log of the bandwidth a on features
    log_points: Any  # [], log of the bandwidth b on the points


def deep_kernel(features: Callable[[Any, Array], Array]) -> Callable[[DeepKernel], Kernel]:
    """From a network (params, x [*event]) -> [f]: a function from a DeepKernel to its kernel.

    The kernel is (x [*event], y [*event]) -> [], 1 at x = y, at most 1, and positive definite.
    Source: Liu et al. 2020, arXiv:2002.09116, equation 1, with Gaussian kernels.
    """
    square = lambda a, b: jnp.sum((a - b) ** 2)

    def kernel_of(numbers):
        def kernel(x, y):
            apart = square(features(numbers.network, x), features(numbers.network, y))
            near = jnp.exp(-0.5 * apart * jnp.exp(-2 * numbers.log_features))
            near_points = jnp.exp(-0.5 * square(x, y) * jnp.exp(-2 * numbers.log_points))
            eps = jax.nn.sigmoid(numbers.mix)
            return ((1 - eps) * near + eps) * near_points

        return kernel

    return kernel_of


def _sample(where, xs, ys):
    event = jnp.shape(xs)[1:]
    flat_x, flat_y = flat(where, xs, ys, least=3)
    return flat_x.reshape(-1, *event), flat_y.reshape(-1, *event)


def _mean_variance(rows):
    return jnp.mean(rows), jnp.mean((rows - jnp.mean(rows)) ** 2)


def _ratio(where, kernel, xs, ys, drop_own, floor):
    xs, ys = _sample(where, xs, ys)
    n, m = xs.shape[0], ys.shape[0]
    itself = lambda points: jax.vmap(lambda p: kernel(p, p))(points)
    own_x = (jnp.sum(gram(kernel, xs, xs), axis=1) - itself(xs)) / (n - 1)
    cross = gram(kernel, xs, ys)
    cross_x, cross_y = jnp.mean(cross, axis=1), jnp.mean(cross, axis=0)
    own_y = jnp.zeros_like(cross_y)
    if not drop_own:
        own_y = (jnp.sum(gram(kernel, ys, ys), axis=1) - itself(ys)) / (m - 1)
    value = jnp.mean(own_x) + jnp.mean(own_y) - 2 * jnp.mean(cross_x)
    spread = m * _mean_variance(own_x - cross_x)[1] + n * _mean_variance(own_y - cross_y)[1]
    return value, value / jnp.sqrt(4 * spread / (n + m) + floor)


def power_objective(
    kernel_of: Callable[[Any], Kernel], *, floor: float = 1e-8
) -> Callable[[Any, Array, Array], Array]:
    """(params, xs [n, *event], ys [m, *event]) -> MMD² / sigma [], to be maximised over params.

    sigma² is n m / (n + m) times the variance of MMD² where the laws differ, plus `floor`; its
    estimates here have divisors n and m. Fit on one part of the data and test on another.

    Args:
        kernel_of: params -> kernel (x [*event], y [*event]) -> [], `deep_kernel(features)` or any.
        floor: under the variance, so that equal points have ratio 0 and finite gradients.

    The function raises ValueError on unequal event shapes or fewer than 3 points.
    Source: Liu et al. 2020, arXiv:2002.09116, equation 3; see the head of the file.
    """
    where = "two_sample.power_objective"
    return lambda params, xs, ys: _ratio(where, kernel_of(params), xs, ys, False, floor)[1]


def multi_population_objective(
    kernel_of: Callable[[Any], Kernel], *, floor: float = 1e-8
) -> Callable[[Any, Array, Array], Array]:
    """(params, xs [n, *event], ys [m, *event]) -> MPP / sigma [], to be maximised over params.

    MPP = E k(x, x') - 2 E k(x, y) leaves out E k(y, y'): give the sample of several populations
    (machine-made, from several machines) as ys. sigma² is n m / (n + m) times its variance.

    Args:
        kernel_of: params -> kernel (x [*event], y [*event]) -> [], `deep_kernel(features)` or any.
        floor: under the variance.

    The function raises ValueError on unequal event shapes or fewer than 3 points.
    Source: Zhang et al. 2024, arXiv:2402.16041, section 3; see the head of the file.
    """
    where = "two_sample.multi_population_objective"
    return lambda params, xs, ys: _ratio(where, kernel_of(params), xs, ys, True, floor)[1]


def instance_score(xs: Array, y: Array, kernel: Kernel) -> Array:
    """How foreign one point is to a sample, []: the squared MMD between the sample and the point.

    Args:
        xs: [n, *event], the reference.
        y: [*event].
        kernel: (x [*event], y [*event]) -> [].

    Never negative. Raises ValueError on unequal event shapes or values that are not finite.
    Source: Zhang et al. 2024, arXiv:2402.16041, section 3.4.
    """
    xs, y = jnp.asarray(xs), jnp.asarray(y)
    if xs.ndim < 1 or xs.shape[1:] != y.shape or xs.shape[0] < 1:
        raise ValueError(
            f"two_sample.instance_score: xs [n, *event] and y [*event] must fit; "
            f"got {xs.shape} and {y.shape}"
        )
    finite("two_sample.instance_score", "xs", xs)
    finite("two_sample.instance_score", "y", y)
    to_it = jax.vmap(lambda x: kernel(x, y))(xs)
    return jnp.mean(gram(kernel, xs, xs)) - 2 * jnp.mean(to_it) + kernel(y, y)
