"""The mean of a score must vanish at every time: measuring by how much it does not, and mending it.

E s(z_t, t) = 0 means E x0hat(z_t, t) = E x0, for scalar and block processes and whatever was
predicted, so that one table serves all kinds: eps less its mean, a score less its mean and x0hat
less its bias are the same denoiser. Source: Pang et al. 2023, arXiv 2302.10688.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import working_dtype
from jaxgen.processes import corrupt, is_diagonal, log_snr, mean_log_snr, noise_shape


class TimeBias(NamedTuple):
    """E[x0hat(z_t, t) - x0] at m times, and how well it is known; a pytree. Source: definition."""

    t: Any  # [m], falling
    log_snr: Any  # [m], rising: the clock in which it is interpolated
    mean: Any  # [m, *event]
    standard_error: Any  # [m, *event]


def time_bias(key, process, denoiser, x0, ts, *, draws=1):
    """The `TimeBias` of a denoiser at the falling times ts [m], from data x0 [n, *event] noised
    `draws` times at each: n m draws evaluations.

    The same noise serves all times, so that the bias is smooth in t. Raises ValueError on fewer
    than two data, or draws < 1. Source: Pang et al. 2023, arXiv 2302.10688; x0 is paired with
    its own prediction, which has less variance than the two means apart.
    """
    if len(x0) < 2 or draws < 1:
        raise ValueError(
            "predictions.calibration.time_bias: x0 [n, *event] must hold two data or more, and "
            f"draws be at least 1; got n={len(x0)}, draws={draws}"
        )
    x0 = jnp.tile(jnp.asarray(x0), (draws, *(1,) * (jnp.ndim(x0) - 1)))
    shape = (len(x0), *noise_shape(process, x0.shape[1:]))
    eps = jax.random.normal(key, shape, x0.dtype)
    ts = jnp.asarray(ts, working_dtype(x0))

    def at(t):
        one = lambda x0, eps: denoiser(corrupt(process, x0, eps, t), t) - x0
        errors = jax.vmap(one)(x0, eps).astype(t.dtype)
        mean = jnp.mean(errors, 0)
        spread = jnp.sqrt(jnp.sum((errors - mean[None]) ** 2, 0) / (len(x0) - 1) / len(x0))
        return mean, spread

    mean, error = jax.lax.map(at, ts)
    return TimeBias(ts, mean_log_snr(process, ts).astype(ts.dtype), mean, error)


def calibrate(process, denoiser, bias):
    """denoiser(z, t) -> [*event] less its bias at t, a `TimeBias` interpolated linearly in log-SNR
    and held beyond its ends.

    The loss of the score s falls by |E s|^2 / 2 at each t of the table, up to the table's own
    error. Read kinds first: `as_denoiser(process, predict, kind=kind)`. Source: Pang et al. 2023,
    arXiv 2302.10688.
    """

    def calibrated(z, t):
        x0 = denoiser(z, t)
        level = mean_log_snr(process, jnp.asarray(t, working_dtype(x0)))
        return (x0 - _at(bias, level)).astype(x0.dtype)

    return calibrated


def bound_gain(process, bias):
    """By how much calibration raises the evidence lower bound between the table's ends, [] nats:
    1/2 int (-d gamma/dt) |E x0hat - E x0|^2 dt, which is 1/2 int g^2 |E s|^2 dt.

    The square of the table's error is taken off, so that the estimate has no bias of its own;
    trapezoidal rule in gamma. Source: Pang et al. 2023, arXiv 2302.10688; in terms of gamma
    derived.
    """
    square = bias.mean**2 - bias.standard_error**2
    snr = jnp.exp(log_snr(process, bias.t)).astype(square.dtype)
    wide = snr if is_diagonal(process) else snr.reshape(-1, *(1,) * (square.ndim - 1))
    return jnp.sum((wide[1:] - wide[:-1]) * (square[1:] + square[:-1])) / 4


def _at(bias, level):
    """The bias [*event] at a log-SNR []."""
    right = jnp.clip(jnp.searchsorted(bias.log_snr, level), 1, len(bias.log_snr) - 1)
    low, high = bias.log_snr[right - 1], bias.log_snr[right]
    share = jnp.clip((level - low) / (high - low), 0.0, 1.0)
    return bias.mean[right - 1] + share * (bias.mean[right] - bias.mean[right - 1])
