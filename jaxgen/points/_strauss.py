"""Strauss' process: every pair of close points costs a factor gamma.

Source: Strauss 1975; Kelly and Ripley 1976 (it exists for gamma <= 1 only).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxgen.math import is_concrete
from jaxgen.points._pattern import Gibbs, checked_capacity, count, neighbours, pair_count, volume
from jaxgen.points._poisson import log_power_over_factorial


def strauss(beta, gamma, radius):
    """Strauss' process as a `Gibbs` record: log-density n log(beta) + s log(gamma) of patterns
    [capacity, d] with n points and s pairs within the radius.

    gamma = 1 is Poisson, gamma = 0 a hard core; 0 log 0 is 0. Its normaliser is unknown but where
    gamma is 1 or the radius spans the window, see `strauss_everywhere`.

    Args: beta [], > 0; gamma [], in [0, 1]; radius [], >= 0. Raises ValueError on concrete numbers
    elsewhere; traced ones outside make the log-density NaN. Source: Strauss 1975; Kelly and Ripley
    1976.
    """
    _checked("points.strauss", beta, gamma, radius)

    def weight(pairs, dtype):
        safe = jnp.asarray(gamma, dtype)
        safe = jnp.where((safe >= 0) & (safe <= 1), safe, jnp.nan)
        return pairs.astype(dtype) * jnp.log(jnp.where((pairs == 0) & (safe == 0), 1, safe))

    def logdensity(pattern):
        dtype = pattern.points.dtype
        own = count(pattern).astype(dtype) * jnp.log(jnp.asarray(beta, dtype))
        return own + weight(pair_count(pattern, radius), dtype)

    def log_intensity(x, pattern):
        dtype = pattern.points.dtype
        close = neighbours(x, pattern, radius)
        return jnp.log(jnp.asarray(beta, dtype)) + weight(close, dtype)

    return Gibbs(logdensity, log_intensity)


def strauss_everywhere(beta, gamma, window, *, capacity):
    """(log-probabilities [capacity + 1] of n points, log-normaliser []) of Strauss' process whose
    radius is at least the diameter of the window, given at most `capacity` points.

    All n (n - 1) / 2 pairs are then close, and Z = sum_n beta^n |W|^n gamma^(n (n - 1) / 2) / n!.
    Given n the points are independent and uniform. Raises ValueError as `strauss` does, and on
    capacity < 1. Source: derived here; Moller and Waagepetersen 2004, example 6.1 for the density.
    """
    where = "points.strauss_everywhere"
    _checked(where, beta, gamma, 0.0)
    checked_capacity(where, capacity)
    dtype = window.low.dtype
    pairs = np.arange(capacity + 1) * (np.arange(capacity + 1) - 1) // 2
    pairs, gamma = jnp.asarray(pairs, dtype), jnp.asarray(gamma, dtype)
    cost = jnp.where(pairs == 0, 0.0, pairs * jnp.log(jnp.where(pairs == 0, 1, gamma)))
    logits = log_power_over_factorial(jnp.asarray(beta, dtype) * volume(window), capacity) + cost
    log_z = logsumexp(logits)
    return logits - log_z, log_z


def _checked(where, beta, gamma, radius):
    for name, value, low, high in (
        ("beta", beta, 0, np.inf),
        ("gamma", gamma, 0, 1),
        ("radius", radius, 0, np.inf),
    ):
        if jnp.shape(value):
            raise ValueError(f"{where}: {name} must be one number; got {jnp.shape(value)}")
        if is_concrete(value):
            held = float(jax.device_get(value))
            if not (low <= held <= high and np.isfinite(held)) or (name == "beta" and held == 0):
                interval = {"beta": "(0, inf)", "gamma": "[0, 1]", "radius": "[0, inf)"}[name]
                raise ValueError(f"{where}: {name} must lie in {interval}; got {value}")
