"""The denoiser as a mean of exact draws, by rejection: zeroth-order diffusion Monte Carlo.

Proposals come from the channel, or from the posterior of a Gaussian guess, as in `importance`; one
at x is kept with probability exp(log-weight - ceiling). What is kept follows x0 given z exactly,
whatever barriers or jumps the density has, so that the mean is unbiased where anything is kept; the
price is a share of kept draws that falls exponentially with the dimension.
Source: He, Rojas and Tao 2024, arXiv 2402.17886, algorithm 2. Deviations: a fixed number of
proposals instead of a fixed number kept, the guess, and what happens where none is kept.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.predictions.from_density._posterior import (
    check_draws,
    check_event,
    check_guess,
    heard,
    proposals,
    shares,
)


class RejectionDraws(NamedTuple):
    """What one denoiser evaluation draws. Source: definition."""

    eps: Any  # [m, *event] unit noise of the proposals
    accept: Any  # [m] uniform


class Kept(NamedTuple):
    """What was kept of the proposals at (z, t). Source: definition."""

    share: Any  # [] from 0 to 1
    excess: Any  # [], the largest log-weight less the ceiling: above 0 the draws are not exact


def rejection_draws(key, event_shape, m):
    """`RejectionDraws` of m proposals [m, *event]. Source: definition."""
    key_eps, key_accept = jax.random.split(key)
    eps = jax.random.normal(key_eps, (m, *event_shape))
    return RejectionDraws(eps, jax.random.uniform(key_accept, (m,), eps.dtype))


def rejection(process, logdensity_fn, draws, *, ceiling, guess=None):
    """The denoiser (z, t) -> [*event] by rejection sampling of x0 given z from `RejectionDraws`; m
    evaluations of the log-density, none of its gradient.

    Works under any linear process, z [*event] or [c, *event]. Where no proposal is kept it is the
    importance mean of all of them.
    Args: ceiling [], at least the largest log-density, or with a guess at least the largest value
        of logdensity_fn(x) + |x - mean|^2 / (2 variance); see `kept`. guess as `importance`.
    Raises ValueError as `importance`, and on a ceiling that is not one number.
    Source: He, Rojas and Tao 2024, arXiv 2402.17886, algorithm 2.
    """
    where = "predictions.from_density.rejection"
    look = _looking(where, process, logdensity_fn, draws, ceiling, guess)

    def denoiser(z, t):
        points, log_weights, keep = look(z, t)
        weights = keep / jnp.maximum(jnp.sum(keep), 1)
        weights = jnp.where(jnp.any(keep), weights.astype(z.dtype), shares(log_weights))
        return jnp.tensordot(weights, points, 1).astype(z.dtype)

    return denoiser


def kept(process, logdensity_fn, draws, *, ceiling, guess=None):
    """(z, t) -> `Kept`: the share of the m proposals that `rejection` keeps, and whether the
    ceiling held.

    Args and errors as `rejection`, draws of [m, *event]. Source: definition.
    """
    where = "predictions.from_density.kept"
    look = _looking(where, process, logdensity_fn, draws, ceiling, guess)

    def report(z, t):
        _, log_weights, keep = look(z, t)
        return Kept(jnp.mean(keep.astype(z.dtype)), jnp.max(log_weights) - ceiling)

    return report


def _looking(where, process, logdensity_fn, draws, ceiling, guess):
    """look(z, t) -> proposals [m, *event], their log-weights [m], and which are kept [m]."""
    guess = check_guess(where, guess)
    check_draws(where, draws.eps)
    if jnp.ndim(ceiling) or jnp.shape(draws.accept) != jnp.shape(draws.eps)[:1]:
        raise ValueError(
            f"{where}: ceiling must be one number and accept [m]; got shapes "
            f"{jnp.shape(ceiling)} and {jnp.shape(draws.accept)}"
        )

    def look(z, t):
        gain, signal = heard(process, z, t)
        check_event(where, draws.eps, signal)
        eps = jnp.asarray(draws.eps, z.dtype)
        points, log_weights = proposals(logdensity_fn, gain, signal, eps, guess)
        return points, log_weights, jnp.log(draws.accept).astype(z.dtype) < log_weights - ceiling

    return look
