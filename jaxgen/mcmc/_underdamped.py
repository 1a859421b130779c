"""Underdamped Langevin by an exact splitting: half a kick, half a drift, an Ornstein-Uhlenbeck step
of the velocity solved exactly, half a drift, half a kick (BAOAB).

    dx = v dt,   dv = grad log p(x) dt - friction v dt + sqrt(2 friction) dW;   law p(x) N(v; 0, 1)

Weak order 2 in dt; on Gaussian targets the stationary law of x has no error at all for dt below the
limit of stability, dt < 2 / sqrt(largest precision).
Source: Leimkuhler and Matthews 2013, J. Chem. Phys. 138, 174102 (BAOAB, exactness on harmonic
targets).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.mcmc._accept import keep_or_take
from jaxgen.mcmc._checks import positive
from jaxgen.mcmc._langevin import LangevinInfo, LangevinState, land, noise_like, start
from jaxgen.types import sampling_algorithm


class UnderdampedState(NamedTuple):
    """Where an underdamped chain is. Source: definition."""

    position: Any  # [*event]
    velocity: Any  # [*event]
    logdensity: Any  # [], nats
    logdensity_grad: Any  # [*event]


def underdamped(logdensity_fn, dt, *, friction=1.0):
    """Underdamped Langevin (BAOAB) on exp(logdensity_fn(x)), x [*event] any tree; as a
    `SamplingAlgorithm`.

    `init(position, rng_key)` draws the velocity; without a key it starts at rest. One gradient a
    step. Args: dt [], > 0, of dx = v dt; friction [], > 0. A step that leaves the finite numbers is
    not taken: the chain stays, turns its velocity round, and info says is_divergent. Raises
    ValueError on numbers that are not positive; `init` on a log-density that is NaN or +inf.
    Source: Leimkuhler and Matthews 2013.
    """
    where = "mcmc.underdamped"
    positive(where, dt=dt, friction=friction)
    evaluate = jax.value_and_grad(logdensity_fn)

    def init(position, rng_key=None):
        x, logdensity, gradient = start(where, evaluate, position)
        velocity = jax.tree.map(jnp.zeros_like, x) if rng_key is None else noise_like(rng_key, x)
        return UnderdampedState(x, velocity, logdensity, gradient)

    def half(tree, slope):
        return jax.tree.map(lambda a, b: a + jnp.asarray(dt, a.dtype) / 2 * b, tree, slope)

    def forget(v, n):
        h = jnp.asarray(dt, v.dtype) * jnp.asarray(friction, v.dtype)
        return jnp.exp(-h) * v + jnp.sqrt(-jnp.expm1(-2 * h)) * n

    def step(rng_key, state):
        velocity = half(state.velocity, state.logdensity_grad)
        position = half(state.position, velocity)
        velocity = jax.tree.map(forget, velocity, noise_like(rng_key, velocity))
        position = half(position, velocity)
        before = LangevinState(state.position, state.logdensity, state.logdensity_grad)
        new, info = land(evaluate, before, position)
        velocity = half(velocity, new.logdensity_grad)
        back = jax.tree.map(jnp.negative, state.velocity)
        velocity = keep_or_take(~info.is_divergent, velocity, back)
        state = UnderdampedState(new.position, velocity, new.logdensity, new.logdensity_grad)
        return state, LangevinInfo(info.is_divergent)

    return sampling_algorithm(init, step)
