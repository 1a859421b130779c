"""Kernel Stein discrepancy: the mean of a Stein kernel over pairs of a sample.

It is E <δ(x), k(x, x') δ(x')> with δ the difference of the two scores: for N(m, I) against N(0, I)
it is |m|² E k(x, x').

Sources: Liu, Lee and Jordan 2016, arXiv:1602.03253; Chwialkowski, Strathmann and Gretton 2016,
arXiv:1602.02964; Gorham and Mackey 2017, arXiv:1703.01717 (the imq kernel of power 1/2, which sees
a sample that does not converge where lighter-tailed kernels do not).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.kernels import imq, quadratic, stein, weighted_sums
from jaxgen.metrics._clouds import estimator_name, finite, points
from jaxgen.metrics._mmd import itself

Array = jax.Array
Kernel = Callable[[Array, Array], Array]


class KSDTest(NamedTuple):
    """A squared discrepancy and how rare it is under the law."""

    statistic: Array  # []
    p_value: Array  # [], in (0, 1]
    null: Array  # [num_bootstrap], the statistic under the law, as the bootstrap has it


def _with_scores(where, xs, score):
    """Points and their scores, [n, 2, *event]."""
    xs = points(where, xs, xs, least=2)[0]
    scores = jax.vmap(score)(xs) if callable(score) else jnp.asarray(score, xs.dtype)
    if scores.shape != xs.shape:
        raise ValueError(
            f"{where}: score must give one for each point, {xs.shape}; got {scores.shape}"
        )
    finite(where, "score", scores)
    return jnp.stack([xs, scores.astype(xs.dtype)], axis=1)


def ksd2(
    xs: Array,
    score: Callable[[Array], Array] | Array,
    kernel: Kernel | None = None,
    *,
    estimator: str = "unbiased",
    chunk: int = 512,
) -> Array:
    """The squared kernel Stein discrepancy, [], of a sample from the law of a score.

    Args:
        xs: [n, *event], n >= 2.
        score: x [*event] -> [*event], or its values [n, *event].
        kernel: (x [*event], y [*event]) -> [], symmetric and twice differentiable; None is
            `kernels.imq()`. Kernels of |x - y|² take matrix products.
        estimator: "unbiased" (the U-statistic, which may be negative) or "biased" (the V-statistic,
            never negative).
        chunk: a tile of pairs is at most [chunk, chunk]; memory does not grow with n².

    Raises ValueError on a wrong name, too few points, or scores of another shape or not finite.
    Source: Liu, Lee and Jordan 2016, arXiv:1602.03253, equations 14 and 15.
    """
    estimator_name("ksd2", estimator)
    zs, u = _with_scores("ksd2", xs, score), stein(imq() if kernel is None else kernel)
    n, mean = zs.shape[0], quadratic(u, zs, chunk=chunk)
    if estimator == "biased":
        return mean
    return (n * mean - jnp.mean(itself(u, zs))) / (n - 1)


def ksd_test(
    key: Array,
    xs: Array,
    score: Callable[[Array], Array] | Array,
    kernel: Kernel | None = None,
    *,
    num_bootstrap: int = 500,
    chunk: int = 512,
) -> KSDTest:
    """Was xs drawn from the law of this score: KSDTest(statistic [], p_value [], null [b]).

    The points of xs must be independent. Under the law the U-statistic is degenerate, and
    Σ_{i≠j} e_i e_j u(x_i, x_j) / (n (n - 1)) with independent signs e has its limit. The p-value is
    (1 + those of the null that reach the statistic) / (1 + num_bootstrap); its size is right as n
    grows.

    Args:
        key: [] key.
        xs: [n, *event], n >= 2.
        score: x [*event] -> [*event], or its values [n, *event].
        kernel: as for `ksd2`.
        num_bootstrap: how many draws of signs; memory grows as n · num_bootstrap.
        chunk: a tile of pairs is at most [chunk, chunk].

    Raises ValueError as `ksd2` does, and unless num_bootstrap >= 1.
    Source: Chwialkowski, Strathmann and Gretton 2016, arXiv:1602.02964, section 3 (wild bootstrap).
    """
    if not isinstance(num_bootstrap, int) or num_bootstrap < 1:
        raise ValueError(
            f"ksd_test: num_bootstrap must be an integer of at least 1; got {num_bootstrap!r}"
        )
    zs, u = _with_scores("ksd_test", xs, score), stein(imq() if kernel is None else kernel)
    n = zs.shape[0]
    signs = jax.random.rademacher(key, (n, num_bootstrap), zs.dtype)
    signs = jnp.concatenate([jnp.ones((n, 1), zs.dtype), signs], axis=1)  # the first is the data
    forms = jnp.sum(signs * weighted_sums(u, zs, zs, signs, chunk=chunk), axis=0)
    values = (forms - jnp.sum(itself(u, zs))) / (n * (n - 1))
    reach = jnp.sum(values[1:] >= values[0])
    return KSDTest(values[0], (1 + reach).astype(zs.dtype) / (1 + num_bootstrap), values[1:])
