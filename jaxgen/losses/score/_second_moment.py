"""Times drawn where the loss has been large: importance sampling that learns from past losses."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import is_concrete


class TimeSampler(NamedTuple):
    """Three pure functions that draw times and learn from the losses there. Source: definition."""

    init: Callable  # () -> state
    sample: Callable  # (state, u [...] in [0, 1)) -> (t [...], weight [...])
    update: Callable  # (state, t [n], losses [n]) -> state


class LossHistory(NamedTuple):
    """The last losses of each bin of times, a ring. Source: definition."""

    losses: Any  # [bins, kept]
    counts: Any  # [bins] int32, how many have been seen


def loss_second_moment(process, bins=64, *, kept=10, uniform_share=1e-3):
    """A `TimeSampler`: t falls into each of equal bins between t_min and t_max with a probability
    proportional to the root mean square of the last losses there, [bins, kept].

    E[weight loss(t)] is E[loss(t)] under uniform t whatever has been learned: weigh each loss of a
    batch by its `weight`, and hand the losses themselves to `update`. Until each bin has seen
    `kept` losses, and for the share `uniform_share` always, bins are drawn evenly. `sample` maps u
    one by one, so stratified u stay stratified.
    Raises ValueError on bins or kept < 1, or a share outside (0, 1].
    Source: Nichol and Dhariwal 2021, arXiv 2102.09672, equation 18 and section 3.3 (10 kept
    losses); bins of continuous time instead of single steps.
    """
    name = "losses.score.loss_second_moment"
    for label, number in {"bins": bins, "kept": kept}.items():
        if number < 1:
            raise ValueError(f"{name}: {label} must be at least 1; got {number}")
    if is_concrete(uniform_share) and not 0 < uniform_share <= 1:
        raise ValueError(f"{name}: uniform_share must lie in (0, 1]; got {uniform_share}")

    def init():
        return LossHistory(jnp.zeros((bins, kept)), jnp.zeros(bins, jnp.int32))

    def shares(state):
        """The probability [bins] of each bin."""
        sizes = jnp.sqrt(jnp.mean(state.losses**2, 1))
        whole = jnp.sum(sizes)
        warm = jnp.all(state.counts >= kept) & (whole > 0) & jnp.isfinite(whole)
        learned = jnp.where(warm, sizes / jnp.where(warm, whole, 1), 1 / bins)
        return (1 - uniform_share) * learned + uniform_share / bins

    def sample(state, u):
        share = shares(state)
        tops = jnp.cumsum(share)
        u = jnp.asarray(u) * tops[-1]
        index = jnp.clip(jnp.searchsorted(tops, u, side="right"), 0, bins - 1)
        inside = jnp.clip(1 - (tops[index] - u) / share[index], 0, 1)
        low, high = (jnp.asarray(end, u.dtype) for end in (process.t_min, process.t_max))
        t = low + (high - low) * ((index + inside) / bins).astype(u.dtype)
        return t, (1 / (bins * share[index])).astype(u.dtype)

    def update(state, t, losses):
        where = (t - process.t_min) / (process.t_max - process.t_min) * bins
        index = jnp.clip(where.astype(jnp.int32), 0, bins - 1)

        def push(state, seen):
            index, loss = seen
            slot = state.counts[index] % kept
            kept_losses = state.losses.at[index, slot].set(loss.astype(state.losses.dtype))
            return LossHistory(kept_losses, state.counts.at[index].add(1)), None

        return jax.lax.scan(push, state, (index, jax.lax.stop_gradient(losses)))[0]

    return TimeSampler(init, sample, update)
