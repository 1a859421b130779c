"""The Poisson process of one intensity: no interaction.

Source: Kingman 1993 (Poisson processes), section 2.1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from jaxgen.math import is_concrete
from jaxgen.points._pattern import (
    Pattern,
    checked_capacity,
    checked_dimension,
    count,
    uniform,
    volume,
    within,
)
from jaxgen.types import Distribution


def log_power_over_factorial(mean, capacity):
    """log(mean^n / n!) [capacity + 1] of n = 0 ... capacity; mean [] may be 0."""
    n = jnp.arange(capacity + 1, dtype=jnp.result_type(mean))
    return n * jnp.log(jnp.where(n == 0, 1, mean)) - gammaln(n + 1)


def poisson(intensity, window, *, capacity):
    """The Poisson process of an intensity [] per unit area on a window, as a `Distribution` of
    `Pattern`s with points [capacity, d].

    Its law is that of the process given that at most `capacity` points fall, exactly: take a
    capacity some standard deviations above the mean. The log-density is taken, as everywhere in
    this room, with respect to Lebesgue measure over n! at n points: n log(intensity) minus the
    log-normaliser, which is intensity times area where the capacity does not bind.

    Raises ValueError on an intensity that is no number of at least 0 or capacity < 1; `logdensity`
    on points of another dimension. Source: Kingman 1993, section 2.1.
    """
    where = "points.poisson"
    checked_capacity(where, capacity)
    if jnp.shape(intensity):
        raise ValueError(f"{where}: intensity must be one number; got {jnp.shape(intensity)}")
    if is_concrete(intensity) and not (np.isfinite(intensity) and intensity >= 0):
        raise ValueError(f"{where}: intensity must be at least 0 and finite; got {intensity}")
    intensity = jnp.asarray(intensity, window.low.dtype)
    logits = log_power_over_factorial(intensity * volume(window), capacity)

    def sample(key):
        key_count, key_points = jax.random.split(key)
        n = jax.random.categorical(key_count, logits)
        return Pattern(uniform(key_points, window, capacity), jnp.arange(capacity) < n)

    def logdensity(pattern):
        checked_dimension(where, pattern.points, window.low.size)
        n = count(pattern)
        legal = jnp.all(within(pattern.points, window) | ~pattern.mask) & (n <= capacity)
        value = n * jnp.log(jnp.where(n == 0, 1, intensity)) - logsumexp(logits)
        return jnp.where(legal, value, -jnp.inf)

    return Distribution(sample, logdensity)
