"""The denoiser as a mean over inner Langevin chains: reverse diffusion Monte Carlo.

x0 given z has the density p(x0) exp(-|heard - gain x0|^2 / 2): the channel adds gain^2 to its
curvature, so that early in the reverse process, at a moderate t, it is better conditioned than p.
At large t it is p itself, and the chains are as lost as they would be on p: their start, drawn by
importance, decides there. Source: Huang et al. 2024, arXiv 2307.02037, algorithms 1-3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.predictions.from_density._posterior import (
    check_draws,
    check_event,
    check_guess,
    heard,
    proposals,
    shares,
)


class InnerDraws(NamedTuple):
    """What the chains of one denoiser evaluation draw. Source: definition."""

    start: Any  # [m, *event] unit noise of the proposals
    pick: Any  # [chains] uniform, which proposal each chain starts from
    moves: Any  # [steps, chains, *event] unit noise
    accept: Any  # [steps, chains] uniform


def inner_draws(key, event_shape, *, starts, chains, steps, dtype=float):
    """The `InnerDraws` of `langevin` for an event: `starts` proposals [starts, *event], of which
    `chains` are taken for `steps` moves.

    Raises ValueError on counts below 2, 1 and 1. Source: definition.
    """
    if starts < 2 or chains < 1 or steps < 1:
        raise ValueError(
            "predictions.from_density.inner_draws: starts >= 2, chains >= 1 and steps >= 1 must "
            f"hold; got {starts}, {chains}, {steps}"
        )
    key_start, key_pick, key_moves, key_accept = jax.random.split(key, 4)
    return InnerDraws(
        jax.random.normal(key_start, (starts, *event_shape), dtype),
        jax.random.uniform(key_pick, (chains,), dtype),
        jax.random.normal(key_moves, (steps, chains, *event_shape), dtype),
        jax.random.uniform(key_accept, (steps, chains), dtype),
    )


def langevin(process, logdensity_fn, draws, *, smoothness, rate=0.5, adjusted=False, guess=None):
    """The denoiser (z, t) -> [*event]: the mean over the second half of inner Langevin chains on x0
    given z, started by importance resampling; steps x chains gradients an evaluation.

    Args: draws, `InnerDraws` ([m, *event] proposals and the chains' noise); smoothness, a bound []
        on the curvature -d2 log p (1 / variance of a mode): the step is dt = rate / (smoothness +
        gain^2); adjusted, accept or reject (MALA), which removes the bias of order rate; guess as
        in `importance`.
    Raises ValueError as `importance`, and on a smoothness or rate that is not positive.
    Source: Huang et al. 2024, arXiv 2307.02037, algorithms 1-3.
    """
    where = "predictions.from_density.langevin"
    guess = check_guess(where, guess)
    check_draws(where, draws.start)
    for label, number in {"smoothness": smoothness, "rate": rate}.items():
        if is_concrete(number) and not (np.ndim(number) == 0 and number > 0):
            raise ValueError(f"{where}: {label} must be a positive number; got {number}")

    def denoiser(z, t):
        gain, signal = heard(process, z, t)
        check_event(where, draws.start, signal)
        start, pick, moves, accept = (jnp.asarray(a, z.dtype) for a in draws)
        points, log_weights = proposals(logdensity_fn, gain, signal, start, guess)
        places = jnp.searchsorted(jnp.cumsum(shares(log_weights)), pick)
        x = points[jnp.clip(places, 0, len(points) - 1)]
        dt = jnp.broadcast_to(rate / (smoothness + gain**2), signal.shape).astype(z.dtype)
        target = lambda x0: logdensity_fn(x0) - jnp.sum((signal - gain * x0) ** 2) / 2
        evaluate = jax.vmap(jax.value_and_grad(target))
        return _chain_mean(evaluate, x, dt, moves, accept, adjusted).astype(z.dtype)

    return denoiser


def _chain_mean(evaluate, x, dt, moves, accept, adjusted):
    """The mean [*event] of chains from x [chains, *event] over the second half of their moves."""
    steps, dt = len(moves), dt[None]
    flat = lambda a: a.reshape(len(a), -1).sum(1)

    def body(carry, drawn):
        (x, value, slope), total = carry
        index, noise, uniform = drawn
        y = x + dt * slope + jnp.sqrt(2 * dt) * noise
        value_y, slope_y = evaluate(y)
        taken = jnp.isfinite(value_y) & jnp.isfinite(flat(slope_y))  # else the chain stays
        if adjusted:
            back = flat((x - y - dt * slope_y) ** 2 / (4 * dt))
            ratio = value_y - value - back + flat(noise**2) / 2
            taken = taken & (jnp.log(uniform) < ratio)
        wide = taken.reshape(-1, *(1,) * (x.ndim - 1))
        x, slope = jnp.where(wide, y, x), jnp.where(wide, slope_y, slope)
        value = jnp.where(taken, value_y, value)
        total = total + jnp.where(index >= steps // 2, jnp.mean(x, 0), jnp.zeros_like(total))
        return ((x, value, slope), total), None

    carry = ((x, *evaluate(x)), jnp.zeros_like(x[0]))
    (_, total), _ = jax.lax.scan(body, carry, (jnp.arange(steps), moves, accept))
    return total / (steps - steps // 2)
