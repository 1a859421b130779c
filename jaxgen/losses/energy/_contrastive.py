"""Contrastive divergence: the model's expectation is replaced by a few steps of a Markov chain."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


def contrastive_divergence(logdensity_fn, kernel=None, *, steps=1, penalty=0.0):
    """loss_fn(params, key, x0 [*event], negative=None, **cond) -> []: log p(x') - log p(x0), nats,
    at x0 and at a negative x', through which no gradient flows.

    Its expected gradient is that of minus the log-likelihood when x' follows the model, as those of
    `persistent` do in the limit. Without a negative, x' is x0 after `steps` steps of the kernel
    under the present params (CD-k): biased, less so with more steps.

    Args: logdensity_fn(params, x, **cond) -> [], unnormalised; kernel(logdensity_fn of x) ->
    SamplingAlgorithm, of blackjax or `mcmc`, needed unless every call gives negatives; penalty >= 0
    times the squares of both log-densities is added, which keeps their level near zero. Raises
    ValueError on steps < 1, and where neither a negative nor a kernel is given.
    Source: Hinton 2002, section 2; Du and Mordatch 2019, arXiv 1903.08689, for the penalty.
    """
    check_at_least("contrastive_divergence", steps=(steps, 1), penalty=(penalty, 0))

    def loss_fn(params, key, x0, negative=None, **cond):
        if negative is None and kernel is None:
            raise ValueError(
                "losses.energy.contrastive_divergence: a negative or a kernel; got none"
            )
        if negative is None:
            negative = moved(logdensity_fn, kernel, steps, params, key, x0, cond)[0]
        negative = jax.lax.stop_gradient(negative)
        positive = logdensity_fn(params, x0, **cond)
        other = logdensity_fn(params, negative, **cond)
        return other - positive + penalty * (positive**2 + other**2)

    return loss_fn


class Chains(NamedTuple):
    """Persistent chains. Source: definition."""

    init: Any  # positions [n, *event] -> state
    step: Any  # (params, key, state, **cond) -> (state, info)


class ChainsState(NamedTuple):
    """Where persistent chains are: the negatives of the next update. Source: definition."""

    positions: Any  # [n, *event]


class ChainsInfo(NamedTuple):
    """What an update of the chains tells a person. Source: definition."""

    renewed: Any  # [n], whether a chain was started afresh
    divergences: Any  # [], steps that the kernel called divergent


def persistent(logdensity_fn, kernel, *, steps=1, renew=0.0, start=None):
    """`Chains` whose step moves every chain by `steps` steps of the kernel under the present
    params: the negatives of persistent contrastive divergence.

    The chains follow the model up to an error that vanishes with the learning rate. The kernel's
    state is rebuilt at every update, since the log-density has changed: momenta are drawn anew.

    Args: logdensity_fn and kernel as `contrastive_divergence`, cond shared by the chains; renew,
    the probability in [0, 1] that a chain first jumps to start(key) -> [*event]. Raises ValueError
    on steps < 1, renew outside [0, 1], or renew > 0 without start.
    Source: Tieleman 2008; Du and Mordatch 2019, arXiv 1903.08689, section 3, for renewal.
    """
    check_at_least("persistent", steps=(steps, 1))
    if not 0 <= renew <= 1 or (renew > 0 and start is None):
        raise ValueError(
            f"losses.energy.persistent: renew in [0, 1], with a start if positive; got {renew}"
        )

    def init(positions):
        return ChainsState(positions)

    def step(params, key, state, **cond):
        def one(key, x):
            key_renew, key_start, key_move = jax.random.split(key, 3)
            fresh = jax.random.bernoulli(key_renew, renew)
            x = jnp.where(fresh, jnp.asarray(start(key_start), x.dtype), x) if renew > 0 else x
            x, divergences = moved(logdensity_fn, kernel, steps, params, key_move, x, cond)
            return x, fresh, divergences

        keys = jax.random.split(key, len(state.positions))
        positions, fresh, divergences = jax.vmap(one)(keys, state.positions)
        return ChainsState(positions), ChainsInfo(fresh, jnp.sum(divergences))

    return Chains(init, step)


def moved(logdensity_fn, kernel, steps, params, key, x, cond):
    """x [*event] after some steps of a kernel that leaves the model invariant, and how many of them
    it called divergent; no gradient flows.
    """
    params, cond = jax.lax.stop_gradient((params, cond))
    algorithm = kernel(lambda x: logdensity_fn(params, x, **cond))
    key_init, key_steps = jax.random.split(key)

    def body(carry, i):
        state, divergences = carry
        state, info = algorithm.step(jax.random.fold_in(key_steps, i), state)
        return (state, divergences + jnp.asarray(getattr(info, "is_divergent", False), int)), None

    carry = algorithm.init(jax.lax.stop_gradient(x), key_init), jnp.zeros((), int)
    (state, divergences), _ = jax.lax.scan(body, carry, jnp.arange(steps))
    return state.position, divergences


def check_at_least(where, **numbers):
    """Raises ValueError on numbers below their least value."""
    for name, (value, least) in numbers.items():
        if not value >= least:
            raise ValueError(f"losses.energy.{where}: {name} must be at least {least}; got {value}")
