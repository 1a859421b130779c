"""Densities from a norm: exponential families by their Bregman divergence.

    p(z | c) = exp(-D(z, m_c)) / Z_c,   D(z, m) = f(z) - f(m) - <z - m, grad f(m)>,
    f = |.|_q² / 2,   1 / p + 1 / q = 1

The log-partition function |.|_p² / 2 of an exponential family has f as its conjugate: so one number
p chooses the family. p = 2 is the normal law of unit covariance, Z = (2π)^(d/2). Elsewhere Z_c
depends on m_c and has no closed form but at m = 0; it is estimated by importance sampling.

In one dimension every norm is |.|, so every p is the normal law.

Sources: Peng et al. 2024, arXiv:2402.17888; Banerjee et al. 2005, Clustering with Bregman
divergences (theorem 4: families and divergences).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.metrics._mmd import Estimate
from jaxgen.types import Distribution

Array = jax.Array


class NormFamily(NamedTuple):
    """Class densities from a norm, a pytree of arrays. Source: Peng et al. 2024,
    arXiv:2402.17888.
    """

    means: Array  # [k, d], expectation parameters m_c, usually the classes' means
    p: Array  # [], the norm of the log-partition function, > 1
    log_partition: Array  # [k], log Z_c, in nats
    log_weights: Array  # [k], of the classes


def _check(where, p):
    if is_concrete(p) and not (float(p) > 1 and math.isfinite(float(p))):
        raise ValueError(f"{where}: p must be finite and above 1; got {p}")


def conjugate_exponent(p: Array) -> Array:
    """q [] with 1 / p + 1 / q = 1; raises ValueError on p <= 1. Source: Hölder 1889."""
    _check("conjugate_exponent", p)
    return p / (p - 1)


def half_square_norm(x: Array, p: Array) -> Array:
    """|x|_p² / 2, [], of x [d], with a gradient that is 0 at the origin.

    Computed relative to the largest entry: no power overflows. Its conjugate is that of
    `conjugate_exponent(p)`. Raises ValueError on p <= 1.
    Source: Boyd and Vandenberghe 2004, Convex optimization, example 3.27 (conjugates of norms).
    """
    _check("half_square_norm", p)
    x = jnp.asarray(x)
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
    top = jnp.where(top > 0, top, 1)
    sizes = jnp.abs(x / top)
    some = sizes > 0
    # The outer choice keeps the power's derivative away from 0 entries, and the root's from x = 0.
    total = jnp.sum(jnp.where(some, jnp.where(some, sizes, 1) ** p, 0))
    any_ = total > 0
    return jnp.where(any_, top**2 * jnp.where(any_, total, 1) ** (2 / p) / 2, 0)


def norm_divergence(z: Array, mean: Array, p: Array) -> Array:
    """The Bregman divergence D(z, mean), [] >= 0, of |.|_q² / 2 with q conjugate to p.

    Args:
        z: [d].
        mean: [d].
        p: above 1; 2 gives |z - mean|² / 2.

    Raises ValueError on p <= 1 or unequal shapes. Source: Peng et al. 2024, arXiv:2402.17888.
    """
    z, mean = jnp.asarray(z), jnp.asarray(mean)
    if z.ndim != 1 or z.shape != mean.shape:
        raise ValueError(f"norm_divergence: z and mean must be [d]; got {z.shape} and {mean.shape}")
    f = lambda x: half_square_norm(x, conjugate_exponent(p))
    value, slope = jax.value_and_grad(f)(mean)
    return jnp.maximum(f(z) - value - slope @ (z - mean), 0)


def wide_normal(mean: Array, p: Array) -> Distribution:
    """A normal law around mean [d] under which exp(-D) has weights of finite variance.

    Its variance is 1 / (q - 1) for q <= 2, where D >= (q - 1) |z - mean|² / 2 bounds the weights,
    and d^(1 - 2 / q) above, where D grows like |z|² / (2 variance) or faster.

    Raises ValueError on p <= 1. Source: definition; Ball, Carlen and Lieb 1994 (the bound).
    """
    mean = jnp.asarray(mean)
    q, d = conjugate_exponent(p), mean.shape[0]
    variance = jnp.where(q <= 2, 1 / (q - 1), d ** jnp.maximum(1 - 2 / q, 0)).astype(mean.dtype)
    sd = jnp.sqrt(variance)
    log_norm = d * jnp.log(2 * jnp.pi * variance) / 2
    return Distribution(
        lambda key: mean + sd * jax.random.normal(key, (d,), mean.dtype),
        lambda z: -jnp.sum((z - mean) ** 2) / (2 * variance) - log_norm,
    )


def partition(
    key: Array,
    mean: Array,
    p: Array,
    *,
    samples: int = 4096,
    proposal: Distribution | None = None,
) -> Estimate:
    """log Z and its standard error, an Estimate of two [] in nats, by importance sampling.

    exp(value) is an unbiased estimate of Z = integral of exp(-D(z, mean)) dz, and the standard
    error (of the logarithm, so relative for Z) is of first order: trust neither where it is not
    small, which d in the tens and p far from 2 make it.

    Args:
        key: for the draws.
        mean: [d].
        p: above 1; at 2 the answer is exact.
        samples: draws, >= 2.
        proposal: a law [d] with `sample` and `logdensity`; None is `wide_normal(mean, p)`.

    Raises ValueError on p <= 1 or samples < 2. Source: Peng et al. 2024, arXiv:2402.17888.
    Deviation: the proposal, which is chosen for weights of finite variance.
    """
    if samples < 2:
        raise ValueError(f"partition: samples must be >= 2; got {samples}")
    law = wide_normal(mean, p) if proposal is None else proposal

    def log_weight(i):
        z = law.sample(jax.random.fold_in(key, i))
        return -norm_divergence(z, mean, p) - law.logdensity(z)

    logs = jax.vmap(log_weight)(jnp.arange(samples))
    total = jax.nn.logsumexp(logs) - jnp.log(jnp.asarray(samples, logs.dtype))
    relative = jnp.exp(logs - total)
    return Estimate(total, jnp.std(relative, ddof=1) / jnp.sqrt(jnp.asarray(samples, logs.dtype)))


def norm_family(
    key: Array,
    means: Array,
    p: Array,
    *,
    weights: Array | None = None,
    samples: int = 4096,
) -> NormFamily:
    """The class densities of exponent p around means [k, d], normalised: a NormFamily.

    Args:
        key: for the normalisers.
        means: [k, d], of the classes, in the features' units (scale features to unit variance).
        p: above 1, traced or not.
        weights: of the classes, positive, [k]; None is equal.
        samples: draws for each normaliser.

    Raises ValueError on p <= 1, wrong shapes or weights <= 0.
    Source: Peng et al. 2024, arXiv:2402.17888.
    """
    means = jnp.asarray(means)
    if means.ndim != 2 or means.size == 0:
        raise ValueError(f"norm_family: means must be [k, d]; got {means.shape}")
    k = means.shape[0]
    weights = jnp.ones(k, means.dtype) if weights is None else jnp.asarray(weights, means.dtype)
    if weights.shape != (k,) or (is_concrete(weights) and not np.all(np.asarray(weights) > 0)):
        raise ValueError(f"norm_family: weights must be positive, [{k}]; got {weights}")
    fit = lambda i, mean: partition(jax.random.fold_in(key, i), mean, p, samples=samples).value
    logs = jax.vmap(fit)(jnp.arange(k), means)
    p = jnp.asarray(p, means.dtype)
    return NormFamily(means, p, logs, jnp.log(weights / jnp.sum(weights)))


def norm_logdensity(family: NormFamily, z: Array) -> Array:
    """The log-density [] of z [d] under the classes' mixture, in nats; small means outlying.

    Raises ValueError on a wrong shape. Source: Peng et al. 2024, arXiv:2402.17888. Deviation: the
    mixture's density, where the paper leaves the combination of classes to its theorem's weights.
    """
    logs = jax.vmap(lambda mean: -norm_divergence(z, mean, family.p))(family.means)
    return jax.nn.logsumexp(logs - family.log_partition + family.log_weights)
