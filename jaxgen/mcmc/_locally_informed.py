"""Discrete kernels whose proposals read the gradient: where a log-density is written as a smooth
function of its entries, one gradient estimates the change of every single flip.

Sources: Grathwohl et al. 2021, arXiv 2102.04509, algorithm 1 (Gibbs with gradients); Zhang, Liu
and Liu 2022, arXiv 2206.09914 (discrete Langevin; its alpha is 2 dt); Zanella
2020, arXiv 1711.07424 (local balance: why half the change).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.mcmc._accept import MetropolisInfo, decide, keep_or_take
from jaxgen.mcmc._checks import is_bad, positive, valid_start
from jaxgen.mcmc._sites import real, sites, valid_sites
from jaxgen.types import sampling_algorithm


class DiscreteState(NamedTuple):
    """Where a chain on finite states is. Source: definition."""

    position: Any  # [*event]
    logdensity: Any  # [], nats
    slopes: Any  # [n, k], first-order change of the log-density for every value of every site


def gibbs_with_gradients(logdensity_fn, values):
    """Gibbs with gradients on arrays x [*event] of finitely many values; as a `SamplingAlgorithm`.

    Proposes one site i and another value j with probability proportional to exp(change_ij / 2),
    the change estimated by the gradient, and decides by Metropolis and Hastings: exact for every
    log-density, efficient where the estimate is good.

    Args: logdensity_fn(x) -> [], differentiable in x as real numbers; values, the numbers [k] that
    entries take, such as (-1, 1), or "one_hot" for x [*sites, k]. x may be integers. Raises
    ValueError on other values; `init` on a position that has others, and on a log-density that is
    NaN or +inf.
    Source: Grathwohl et al. 2021, arXiv 2102.04509, algorithm 1.
    """
    where = "mcmc.gibbs_with_gradients"
    law, init, evaluate = _informed(where, logdensity_fn, values)

    def logits(state, index):
        stay = jax.nn.one_hot(index, state.slopes.shape[1], dtype=bool)
        flat = jnp.where(stay, -jnp.inf, state.slopes / 2).reshape(-1)
        return jax.nn.log_softmax(flat)

    def step(rng_key, state):
        key_flip, key_accept = jax.random.split(rng_key)
        index, k = law.index(state.position), state.slopes.shape[1]
        forward = logits(state, index)
        flip = jax.random.categorical(key_flip, forward)
        site, value = flip // k, flip % k
        there = index.at[site].set(value)
        new = evaluate(law.write(there, state.position))
        backward = logits(new, there)[site * k + index[site]]
        ratio = new.logdensity - state.logdensity + backward - forward[flip]
        return decide(key_accept, ratio, new, state, forward[flip])

    return sampling_algorithm(init, step)


def discrete_langevin(logdensity_fn, values, dt, *, adjusted=True):
    """Discrete Langevin on arrays x [*event] of finitely many values; as a `SamplingAlgorithm`.

    Proposes every site at once, value v at site i with probability proportional to
    exp(change_iv / 2 - |v - x_i|^2 / (4 dt)): a Langevin step of size dt confined to the values.
    adjusted=True decides by Metropolis and Hastings and is exact; False always moves, and is biased
    by terms that vanish with dt where log p is nearly quadratic.

    Args: as `gibbs_with_gradients`; dt [], > 0 (the alpha of the paper is 2 dt). Raises ValueError
    likewise, and on a dt that is not positive.
    Source: Zhang, Liu and Liu 2022, arXiv 2206.09914 (DMALA; unadjusted, DULA).
    """
    where = "mcmc.discrete_langevin"
    positive(where, dt=dt)
    law, init, evaluate = _informed(where, logdensity_fn, values)

    def logits(state, index):
        far = law.squares(index, state.slopes) / (4 * jnp.asarray(dt, state.slopes.dtype))
        return jax.nn.log_softmax(state.slopes / 2 - far, axis=1)

    def at(table, index):
        return jnp.sum(jnp.take_along_axis(table, index[:, None], axis=1))

    def step(rng_key, state):
        key_move, key_accept = jax.random.split(rng_key)
        index = law.index(state.position)
        table = logits(state, index)
        there = jax.random.categorical(key_move, table, axis=1)
        new = evaluate(law.write(there, state.position))
        forward = at(table, there)
        if adjusted:
            backward = at(logits(new, there), index)
            ratio = new.logdensity - state.logdensity + backward - forward
            return decide(key_accept, ratio, new, state, forward)
        bad = is_bad(new.logdensity) | (new.logdensity == -jnp.inf)
        rate = jnp.where(bad, 0, jnp.ones_like(forward))
        info = MetropolisInfo(rate, ~bad, bad, new.position, forward)
        return keep_or_take(~bad, new, state), info

    return sampling_algorithm(init, step)


def _informed(where, logdensity_fn, values):
    """The sites, `init`, and x -> DiscreteState."""
    law = sites(where, values)

    def evaluate(x):
        logdensity, gradient = jax.value_and_grad(logdensity_fn)(real(x))
        return DiscreteState(x, logdensity, law.slopes(gradient, law.index(x)))

    def init(position, rng_key=None):
        del rng_key
        state = evaluate(valid_sites(where, law, position))
        valid_start(where, state.logdensity, state.slopes)
        return state

    return law, init, evaluate
