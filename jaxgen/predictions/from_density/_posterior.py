"""What x0 given z_t is for a law known by its log-density, and the proposals for it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import contract, is_concrete
from jaxgen.processes import channel_at, is_diagonal


def heard(process, z, t):
    """(gain [] or [*event], heard [*event]) with heard = gain x0 + unit noise, all that z knows of
    x0; in the dtype of z.
    """
    part = channel_at(process, t)
    return jnp.asarray(part.gain, z.dtype), contract(part.read, z, entries=is_diagonal(process))


def check_draws(where, draws):
    """Raises ValueError unless draws are a floating array [m, *event], m >= 2."""
    if jnp.ndim(draws) < 1 or jnp.shape(draws)[0] < 2:
        raise ValueError(
            f"{where}: draws must have shape [m, *event] with m >= 2; got {jnp.shape(draws)}"
        )


def check_guess(where, guess):
    """(mean, variance) of a guess, or None; ValueError unless the variance is positive."""
    if guess is None:
        return None
    mean, variance = guess
    if is_concrete(variance) and not np.all(np.asarray(variance) > 0):
        raise ValueError(f"{where}: the variance of the guess must be positive; got {variance}")
    return mean, variance


def check_event(where, draws, event):
    """Raises ValueError unless draws [m, *event] are of this event."""
    if jnp.shape(draws)[1:] != jnp.shape(event):
        raise ValueError(
            f"{where}: draws must be [m, *event] of the event {jnp.shape(event)}; "
            f"got {jnp.shape(draws)}"
        )


def proposals(logdensity_fn, gain, signal, eps, guess):
    """(x0 [m, *event], log-weights [m]) for the law of x0 given signal = gain x0 + unit noise, from
    its proposals under a Gaussian guess of p, or a flat one.
    """
    if guess is None:
        points = (signal[None] + eps) / jnp.broadcast_to(gain, signal.shape)[None]
        return points, of_points(logdensity_fn, points)
    mean, variance = (jnp.broadcast_to(jnp.asarray(a, signal.dtype), signal.shape) for a in guess)
    precision = gain**2 + 1 / variance
    centre = (gain * signal + mean / variance) / precision
    points = centre[None] + eps / jnp.sqrt(precision)[None]
    off = (points - mean[None]) ** 2 / (2 * variance)[None]
    return points, of_points(logdensity_fn, points) + off.reshape(len(eps), -1).sum(1)


def of_points(logdensity_fn, points):
    """logdensity_fn at points [m, *event]: [m]; NaN and +inf, no values of a density, become -inf.

    Raises ValueError where it does not return one number.
    """
    values = jax.vmap(logdensity_fn)(points)
    if values.shape != points.shape[:1]:
        raise ValueError(
            "predictions.from_density: logdensity_fn must return one number []; got shape "
            f"{values.shape[1:]}"
        )
    return jnp.where(jnp.isnan(values) | (values == jnp.inf), -jnp.inf, values)


def shares(log_weights):
    """Normalised weights [m]; equal ones, never NaN, where no draw has a finite weight."""
    top = jnp.max(log_weights)
    lost = ~jnp.isfinite(top)
    return jax.nn.softmax(jnp.where(lost, jnp.zeros_like(log_weights), log_weights))
