"""Von Mises-Fisher laws on the unit sphere in d dimensions, d from 2 to tens of thousands.

The density against the surface is exp(kappa mean . x) kappa^(d/2-1) / ((2 pi)^(d/2) I_{d/2-1}
(kappa)). It is written against the uniform law, in |x - mean|^2 / 2 = 1 - mean . x, so that kappa
= 0 and 1e6 are nothing special.

Sources: Mardia and Jupp 2000, Directional Statistics, section 9.3; Ulrich 1984, Applied Statistics
33, and Wood 1994, Communications in Statistics 23, for the sampler; Banerjee et al. 2005 and Sra
2012 for the fit.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.densities._concentration import concentration_of_gap, floating
from jaxgen.math import iv_ratio, log_iv_normalised
from jaxgen.types import Array, Distribution


def von_mises_fisher(mean: Array, concentration: Array) -> Distribution:
    """The von Mises-Fisher `Distribution` of unit vectors [d], density in nats against the surface.

    Args:
        mean: [d], d >= 2, a direction; it is normalised here.
        concentration: kappa [] >= 0; 0 is the uniform law.

    Samples follow gradients in the mean, not in the concentration. `logdensity` expects a unit
    vector. Raises ValueError on shapes that do not fit, a mean of length 0 and a negative or
    non-finite concentration.
    Source: Mardia and Jupp 2000, equation 9.3.4; Wood 1994, algorithm VM*.
    """
    mean, kappa = floating(mean), floating(concentration)
    if mean.ndim != 1 or mean.shape[0] < 2 or kappa.ndim:
        raise ValueError(
            "densities.von_mises_fisher: mean must be [d], d >= 2, and the concentration []; got "
            f"{mean.shape} and {kappa.shape}"
        )
    if not isinstance(kappa, jax.core.Tracer) and not 0 <= float(kappa) < math.inf:
        raise ValueError(
            "densities.von_mises_fisher: the concentration must be finite and at least 0; got "
            f"{float(kappa)}"
        )
    length = jnp.linalg.norm(mean)
    if not isinstance(length, jax.core.Tracer) and not 0 < float(length) < math.inf:
        raise ValueError(
            f"densities.von_mises_fisher: mean must be finite and not 0; got length {float(length)}"
        )
    mean = mean / length
    return Distribution(Partial(_sample, mean, kappa), Partial(_logdensity, mean, kappa))


def von_mises_fisher_entropy(d: int, concentration: Array) -> Array:
    """The entropy [...] in nats, against the surface of the sphere in d dimensions, for each kappa
    >= 0 [...]. Raises ValueError on d < 2.

    Source: Mardia and Jupp 2000, section 9.3.2; derived.
    """
    v = _order("von_mises_fisher_entropy", d)
    kappa = floating(concentration)
    away = kappa * iv_ratio(v, kappa, complement=True)
    return _log_surface(d) + log_iv_normalised(v, kappa) + away


def von_mises_fisher_divergence(
    mean: Array, concentration: Array, other_mean: Array, other_concentration: Array
) -> Array:
    """The Kullback-Leibler divergence [] in nats of one von Mises-Fisher law from another: means
    [d], which are normalised here, and concentrations []. Raises ValueError on unequal shapes.

    Source: definition; derived from the mean resultant I_{d/2} / I_{d/2-1}.
    """
    mean, other = floating(mean), floating(other_mean)
    if mean.ndim != 1 or mean.shape != other.shape:
        raise ValueError(
            "densities.von_mises_fisher_divergence: both means must be [d]; got "
            f"{mean.shape} and {other.shape}"
        )
    v = _order("von_mises_fisher_divergence", mean.shape[0])
    kappa, other_kappa = floating(concentration), floating(other_concentration)
    mean, other = mean / jnp.linalg.norm(mean), other / jnp.linalg.norm(other)
    gap = iv_ratio(v, kappa, complement=True)
    other_gap = gap + (1 - gap) * jnp.sum((mean - other) ** 2) / 2
    volume = log_iv_normalised(v, other_kappa) - log_iv_normalised(v, kappa)
    return volume + other_kappa * other_gap - kappa * gap


def von_mises_fisher_fit(xs: Array, weights: Array | None = None, *, largest: float = 1e8):
    """(mean [d], concentration []): the maximum-likelihood von Mises-Fisher law of unit vectors.

    Args:
        xs: [n, d], unit vectors, n >= 1, d >= 2.
        weights: [n], not negative; None counts every vector once.
        largest: what the concentration is held below; equal vectors alone reach it.

    Where the vectors balance (or all weights are 0) the concentration is 0 and the mean the first
    axis. Differentiable by the implicit function theorem. Raises ValueError on shapes that do not
    fit.
    Source: Mardia and Jupp 2000, section 10.3.1: A_d(kappa) = |mean of x|; Sra 2012.
    """
    xs = floating(xs)
    fits = xs.ndim == 2 and xs.shape[0] > 0 and xs.shape[1] > 1
    if not fits or (weights is not None and np.shape(weights) != xs.shape[:1]):
        raise ValueError(
            "densities.von_mises_fisher_fit: xs must be [n, d], n >= 1 and d >= 2, and weights "
            f"[n]; got {xs.shape} and {np.shape(weights)}"
        )
    n, d = xs.shape
    weights = jnp.ones((n,), xs.dtype) if weights is None else jnp.asarray(weights, xs.dtype)
    total = jnp.sum(weights)
    shares = weights / jnp.where(total > 0, total, 1)
    resultant = shares @ xs
    some = jnp.any(resultant != 0)
    first = jnp.zeros_like(resultant).at[0].set(1)
    mean = jnp.where(some, resultant, first)
    mean = mean / jnp.linalg.norm(mean)
    gap = jnp.where(some, shares @ jnp.sum((xs - mean[None]) ** 2, 1) / 2, 1)
    return mean, concentration_of_gap(gap, d, largest)


def _order(name, d):
    if d < 2:
        raise ValueError(f"densities.{name}: d must be at least 2; got {d}")
    return d / 2 - 1


def _log_surface(d):
    """The logarithm of the surface of the unit sphere in d dimensions."""
    return math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)


def _logdensity(mean, kappa, x):
    x = floating(x)
    mean, kappa = mean.astype(x.dtype), kappa.astype(x.dtype)
    d = mean.shape[0]
    away = jnp.sum((x - mean) ** 2) / 2
    return -(kappa * away + log_iv_normalised(d / 2 - 1, kappa) + _log_surface(d))


def _fall(key, d, kappa):
    """1 - mean . x [] of one draw. Wood's envelope, in 1 - w: with b = (d - 1) / (2 kappa + sqrt(4
    kappa^2 + (d - 1)^2)), 1 - x_0 = 2 b / (1 + b) and 1 - w = 2 b z / (1 - (1 - b) z), z beta.
    """
    half = (d - 1) / 2
    b = half / (kappa + jnp.sqrt(kappa**2 + half**2))
    short = 2 * b / (1 + b)
    top = 1 - short

    def propose(state):
        i, _, _ = state
        key_beta, key_level = jax.random.split(jax.random.fold_in(key, i))
        z = jax.random.beta(key_beta, half, half, (), kappa.dtype)
        fall = 2 * b * z / (1 - (1 - b) * z)
        ratio = jnp.log1p(top * fall / short) - jnp.log1p(top)
        level = jnp.log1p(-jax.random.uniform(key_level, (), kappa.dtype))
        return i + 1, fall, kappa * (short - fall) + (d - 1) * ratio >= level

    start = (0, jnp.zeros_like(kappa), jnp.zeros_like(kappa, bool))
    return jnp.clip(jax.lax.while_loop(lambda state: ~state[2], propose, start)[1], 0, 2)


def _sample(mean, kappa, key):
    key_fall, key_side = jax.random.split(key)
    fall = _fall(key_fall, mean.shape[0], jax.lax.stop_gradient(kappa))
    side = jax.random.normal(key_side, mean.shape, mean.dtype)
    side = side - jnp.dot(side, mean) * mean
    side = side / jnp.linalg.norm(side)
    x = (1 - fall) * mean + jnp.sqrt(fall * (2 - fall)) * side
    return x / jnp.linalg.norm(x)
