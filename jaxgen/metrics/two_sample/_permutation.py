"""Permutation tests: are two samples of one law.

Where the laws are equal, every way to deal the pooled points out to the two sides is as likely as
the one seen, so the rank of a statistic among its values on random deals is uniform: the p-value

    (1 + those that reach the one seen) / (1 + num_permutations)

holds at every sample size, P(p <= a) <= a, with equality at multiples of 1 / (1 + B) without ties.

Source: Phipson and Smyth 2010, Permutation p-values should never be zero; Gretton et al. 2012, A
kernel two-sample test, section 5.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.kernels import weighted_sums
from jaxgen.metrics._clouds import estimator_name, points
from jaxgen.metrics._mmd import itself

Array = jax.Array


class PermutationTest(NamedTuple):
    """A statistic and how rare it is where the two laws are equal."""

    statistic: Array  # []
    p_value: Array  # [], in (0, 1]
    null: Array  # [num_permutations], the statistic on permuted points


def _on_deals(kernel, zs, n, sides, estimator, chunk):
    """The squared MMD of every deal, [b], for sides [n + m, b] (1: the first); and its rounding."""
    m = zs.shape[0] - n
    columns = jnp.concatenate([jnp.ones((zs.shape[0], 1), zs.dtype), sides], axis=1)
    products = weighted_sums(kernel, zs, zs, columns, chunk=chunk)
    rows, products = products[:, :1], products[:, 1:]
    xx = jnp.sum(sides * products, axis=0)
    first = jnp.sum(sides * rows, axis=0)
    xy, yy = first - xx, jnp.sum(rows) - 2 * first + xx
    if estimator == "biased":
        within = xx / n**2 + yy / m**2
    else:
        alone = itself(kernel, zs)[:, None]
        alone_x = jnp.sum(sides * alone, axis=0)
        within = (xx - alone_x) / (n * (n - 1))
        within += (yy - (jnp.sum(alone) - alone_x)) / (m * (m - 1))
    size = jnp.abs(xx) / n**2 + jnp.abs(yy) / m**2 + 2 * jnp.abs(xy) / (n * m)
    return within - 2 * xy / (n * m), 32 * jnp.finfo(zs.dtype).eps * jnp.max(size)


def permutation_test(
    key: Array,
    xs: Array,
    ys: Array,
    kernel: Callable[[Array, Array], Array] | None = None,
    *,
    statistic: Callable[[Array, Array], Array] | None = None,
    num_permutations: int = 500,
    estimator: str = "unbiased",
    chunk: int = 512,
) -> PermutationTest:
    """Are two samples of one law: PermutationTest(statistic [], p_value [], null [b]).

    With a kernel the statistic is the squared MMD, and one pass over the Gram matrix of the pooled
    points serves all permutations (`kernels.minus_distance()` makes it the energy distance). With
    `statistic`, that function is called on every permutation; large values speak against equality.
    Values that differ by rounding alone count as ties, which only makes the p-value larger.

    Args:
        key: [] key.
        xs: [n, *event], n >= 2.
        ys: [m, *event], m >= 2.
        kernel: (x [*event], y [*event]) -> [], symmetric; or None.
        statistic: (xs [n, *event], ys [m, *event]) -> []; or None. Exactly one of the two.
        num_permutations: how many; with a kernel memory grows as (n + m) · num_permutations.
        estimator: of the squared MMD, "unbiased" or "biased".
        chunk: a tile of the Gram matrix is at most [chunk, chunk].

    Raises ValueError unless exactly one of kernel and statistic is given, and on a wrong name,
    unequal event shapes, too few points or permutations.
    Source: Phipson and Smyth 2010; Gretton et al. 2012, section 5.
    """
    if (kernel is None) == (statistic is None):
        raise ValueError(
            "permutation_test: exactly one of kernel and statistic must be given; "
            f"got {kernel} and {statistic}"
        )
    if not isinstance(num_permutations, int) or num_permutations < 1:
        raise ValueError(
            "permutation_test: num_permutations must be an integer of at least 1; "
            f"got {num_permutations!r}"
        )
    estimator_name("permutation_test", estimator)
    xs, ys = points("permutation_test", xs, ys, least=2)
    n, zs = xs.shape[0], jnp.concatenate([xs, ys])
    keys = jax.random.split(key, num_permutations)
    order = jax.vmap(lambda k: jax.random.permutation(k, zs.shape[0]))(keys)
    if kernel is not None:
        orders = jnp.concatenate([jnp.arange(zs.shape[0])[None], order])
        sides = jax.vmap(lambda p: jnp.zeros(p.shape, zs.dtype).at[p[:n]].set(1))(orders)
        values, slack = _on_deals(kernel, zs, n, sides.T, estimator, chunk)
        seen, null = values[0], values[1:]
    else:
        seen = statistic(xs, ys)
        null = jax.lax.map(lambda p: statistic(zs[p[:n]], zs[p[n:]]), order)
        slack = 32 * jnp.finfo(zs.dtype).eps * jnp.abs(seen)
    reach = 1 + jnp.sum(null >= seen - slack)
    return PermutationTest(seen, reach.astype(zs.dtype) / (1 + num_permutations), null)
