"""Von Mises laws on the circle and the torus, and their mixtures; angles in radians.

The density of one angle is exp(kappa cos(x - mean)) / (2 pi I_0(kappa)); entries of an event are
independent, so an event [m] lives on a torus. Everything is written in 1 - cos = 2 sin^2(half) and
1 - I_1 / I_0, so that nothing is lost from kappa = 0 (uniform) to 1e6 and beyond, in float32 too.

Sources: Mardia and Jupp 2000, Directional Statistics, section 3.5; Best and Fisher 1979, Applied
Statistics 28, for the sampler; mixtures of torsions as in Swanson et al. 2023, arXiv:2306.07472.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.densities._concentration import concentration_of_gap, floating
from jaxgen.math import iv_ratio, log_iv_normalised
from jaxgen.types import Array, Distribution

LOG_CIRCLE = math.log(2 * math.pi)


def von_mises(mean: Array, concentration: Array) -> Distribution:
    """The von Mises `Distribution` of angles [*event], independent entries, nats; samples are in
    [-pi, pi].

    Args:
        mean: [*event], radians, whose shape is that of a sample.
        concentration: kappa >= 0, [] or [*event]; 0 is the uniform law.

    Samples follow gradients in the mean, not in the concentration.
    Raises ValueError on a negative or non-finite concentration, or a shape that does not fit.
    Source: Mardia and Jupp 2000, equation 3.5.17; Best and Fisher 1979.
    """
    mean, concentration = _event("von_mises", mean, concentration)
    return Distribution(
        Partial(_sample, mean, concentration), Partial(_logdensity, mean, concentration)
    )


def von_mises_entropy(concentration: Array) -> Array:
    """The entropy [...] in nats of one angle, for each kappa >= 0 [...]: log(2 pi) at 0.

    Source: Mardia and Jupp 2000, section 3.5.4.
    """
    kappa = floating(concentration)
    away = kappa * iv_ratio(0, kappa, complement=True)
    return LOG_CIRCLE + log_iv_normalised(0, kappa) + away


def von_mises_divergence(
    mean: Array, concentration: Array, other_mean: Array, other_concentration: Array
) -> Array:
    """The Kullback-Leibler divergence [...] in nats of one von Mises law from another, elementwise
    over broadcast means [...] and concentrations [...]; on a torus, sum it over the entries.

    Source: definition; derived from the mean resultant I_1 / I_0.
    """
    parts = map(floating, (mean, concentration, other_mean, other_concentration))
    mean, kappa, other, other_kappa = jnp.broadcast_arrays(*parts)
    gap = iv_ratio(0, kappa, complement=True)
    other_gap = gap + (1 - gap) * 2 * jnp.sin((mean - other) / 2) ** 2
    volume = log_iv_normalised(0, other_kappa) - log_iv_normalised(0, kappa)
    return volume + other_kappa * other_gap - kappa * gap


def von_mises_fit(xs: Array, weights: Array | None = None, *, largest: float = 1e8):
    """(mean, concentration), each [*event]: the maximum-likelihood von Mises law of every entry of
    the angles xs.

    Args:
        xs: [n, *event], radians, n >= 1.
        weights: [n], not negative; None counts every angle once.
        largest: what the concentration is held below; equal angles alone reach it.

    Where the angles balance (or all weights are 0) the concentration is 0 and the mean arbitrary.
    Differentiable by the implicit function theorem. Raises ValueError on shapes that do not fit.
    Source: Mardia and Jupp 2000, section 5.3.1: I_1 / I_0 (kappa) = |mean of exp(i x)|.
    """
    xs = floating(xs)
    if (
        xs.ndim < 1
        or xs.shape[0] < 1
        or (weights is not None and np.shape(weights) != xs.shape[:1])
    ):
        raise ValueError(
            "densities.von_mises_fit: xs must be [n, *event], n >= 1, and weights [n]; got "
            f"{xs.shape} and {np.shape(weights)}"
        )
    weights = jnp.asarray(1 if weights is None else weights, xs.dtype)
    weights = jnp.broadcast_to(weights, xs.shape[:1])
    total = jnp.sum(weights)
    shares = weights / jnp.where(total > 0, total, 1)
    shares = jnp.reshape(shares, (-1, *[1] * (xs.ndim - 1)))
    east, north = (jnp.sum(shares * part(xs), 0) for part in (jnp.cos, jnp.sin))
    some = (east != 0) | (north != 0)
    mean = jnp.arctan2(jnp.where(some, north, 0), jnp.where(some, east, 1))
    gap = jnp.sum(shares * 2 * jnp.sin((xs - mean[None]) / 2) ** 2, 0)
    gap = jnp.where(some & (total > 0), gap, 1)
    return mean, concentration_of_gap(gap, 2, largest)


def von_mises_mixture(log_weights: Array, means: Array, concentrations: Array) -> Distribution:
    """The mixture `Distribution` of k von Mises laws over angles [*event], nats: means [k] for one
    angle, [k, m] for products of m circles.

    Args:
        log_weights: [k], finite or -inf, normalised here.
        means: [k, *event], radians.
        concentrations: [k, *event] or [k], >= 0.

    Raises ValueError on shapes that do not fit or a negative concentration.
    Source: definition; Swanson et al. 2023, arXiv:2306.07472.
    """
    log_weights, means, kappas = map(floating, (log_weights, means, concentrations))
    k = log_weights.shape
    if len(k) != 1 or means.shape[:1] != k or kappas.shape not in (k, means.shape):
        raise ValueError(
            "densities.von_mises_mixture: log_weights [k], means [k, *event] and concentrations "
            f"[k] or [k, *event] must fit; got {k}, {means.shape} and {kappas.shape}"
        )
    _check_concentration("von_mises_mixture", kappas)
    kappas = jnp.reshape(kappas, kappas.shape + (1,) * (means.ndim - kappas.ndim))
    kappas = jnp.broadcast_to(kappas, means.shape)
    log_weights = jax.nn.log_softmax(log_weights)
    return Distribution(
        Partial(_mixture_sample, log_weights, means, kappas),
        Partial(_mixture_logdensity, log_weights, means, kappas),
    )


def _check_concentration(name, kappa):
    if isinstance(kappa, jax.core.Tracer):
        return
    numbers = np.asarray(kappa)
    if not np.all((numbers >= 0) & (numbers < np.inf)):
        raise ValueError(
            f"densities.{name}: the concentration must be finite and at least 0; got {numbers}"
        )


def _event(name, mean, kappa):
    mean, kappa = floating(mean), floating(kappa)
    if kappa.shape not in ((), mean.shape):
        raise ValueError(
            f"densities.{name}: the concentration must be [] or as the mean; got {kappa.shape} and "
            f"{mean.shape}"
        )
    _check_concentration(name, kappa)
    return mean, jnp.broadcast_to(kappa, mean.shape)


def _logdensity(mean, kappa, x):
    x = floating(x)
    mean, kappa = mean.astype(x.dtype), kappa.astype(x.dtype)
    away = 2 * jnp.sin((x - mean) / 2) ** 2
    return -jnp.sum(kappa * away + log_iv_normalised(0, kappa) + LOG_CIRCLE)


def _turn(key, kappa):
    """One angle [] around 0. Best and Fisher's wrapped Cauchy proposals, in 1 - cos of them: with
    b = kappa (r - 1), r their number, 1 - f = b (1 - z) / (b + kappa (1 + z)), and c = b + kappa
    (1 - f).
    """
    b = (1 + 1 / (jnp.sqrt(1 + 4 * kappa**2) + 2 * kappa)) / 2

    def propose(state):
        i, _, _ = state
        key_place, key_side = jax.random.split(jax.random.fold_in(key, i))
        half = jnp.pi / 2 * jax.random.uniform(key_place, (), kappa.dtype)
        away = b * 2 * jnp.sin(half) ** 2 / (b + kappa * 2 * jnp.cos(half) ** 2)
        c = b + kappa * away
        level, side = jax.random.uniform(key_side, (2,), kappa.dtype)
        angle = 2 * jnp.arcsin(jnp.sqrt(jnp.minimum(away / 2, 1)))
        return i + 1, jnp.where(side < 0.5, -angle, angle), level <= c * jnp.exp(1 - c)

    start = (0, jnp.zeros_like(kappa), jnp.zeros_like(kappa, bool))
    return jax.lax.while_loop(lambda state: ~state[2], propose, start)[1]


def _sample(mean, kappa, key):
    kappa = jax.lax.stop_gradient(kappa)
    keys = jax.random.split(key, mean.size)
    turns = jax.vmap(_turn)(keys, jnp.ravel(kappa))
    x = mean + jnp.reshape(turns, mean.shape)
    return x - 2 * jnp.pi * jnp.round(jax.lax.stop_gradient(x) / (2 * jnp.pi))


def _mixture_sample(log_weights, means, kappas, key):
    key_component, key_angle = jax.random.split(key)
    k = jax.random.categorical(key_component, log_weights)
    return _sample(means[k], kappas[k], key_angle)


def _mixture_logdensity(log_weights, means, kappas, x):
    each = jax.vmap(_logdensity, (0, 0, None))(means, kappas, x)
    return jax.nn.logsumexp(log_weights.astype(each.dtype) + each)
