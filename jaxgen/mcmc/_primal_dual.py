"""Primal-dual Langevin on exp(f(x) - g(K x)) with f smooth, g convex, known by its proximal map,
and K linear: for penalties such as sum |K x| whose proximal map in x is not known.

    x' = x + dt [grad f(x) - K^T u] + sqrt(2 dt) xi
    u' = prox of dual_step g* at u + dual_step K (2 x' - x),     prox g*(v) = v - s prox_g(v / s)

u follows the slope of g at K x. As dt falls with dual_step / dt fixed it stays behind, and the law
of x is not the target at any dt; with dual_step * dt fixed the bias is O(dt).

Sources: Narnhofer, Habring, Holler and Pock 2022, arXiv 2212.12499 (the algorithm, from Chambolle
and Pock 2011); Burger, Ehrhardt, Kuger and Weigand 2024, arXiv 2405.18098 (what it keeps).
Deviation: f enters by its gradient, not by its proximal map.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._accept import keep_or_take
from jaxgen.mcmc._checks import positive
from jaxgen.mcmc._langevin import LangevinState, euler, land, noise_like, start
from jaxgen.types import sampling_algorithm


class PrimalDualState(NamedTuple):
    """Where a primal-dual chain is. Source: definition."""

    position: Any  # [*event]
    logdensity: Any  # [], nats, of the smooth part
    logdensity_grad: Any  # [*event]
    dual: Any  # of the shape of operator(x), the slope of g there


def primal_dual(logdensity_fn, prox, dt, *, dual_step, operator=None):
    """Primal-dual Langevin on exp(logdensity_fn(x) - g(operator(x))), x [*event] any tree; as a
    `SamplingAlgorithm`.

    It is stable while dt * dual_step |K|^2 is below about 1, and then the larger dual_step, the
    smaller the bias: take 1 / (dt |K|^2), with which the bias is O(dt). The state's log-density is
    that of logdensity_fn alone.

    Args: prox(z, step []) in the space of operator(x), from `jaxgen.mcmc.prox`; dt, dual_step [],
    > 0; operator, a linear function of x, or None, the identity. Raises ValueError on numbers that
    are not positive; `init` as `ula`, and on an operator that is not linear at 0.
    Source: Narnhofer et al. 2022, arXiv 2212.12499; Burger et al. 2024, arXiv 2405.18098.
    """
    where = "mcmc.primal_dual"
    positive(where, dt=dt, dual_step=dual_step)
    evaluate = jax.value_and_grad(logdensity_fn)
    forth = (lambda x: x) if operator is None else operator

    def rise(dual, x):
        """The dual after a step at the point x [*event]."""
        scaled = lambda a: jnp.asarray(dual_step, a.dtype)
        wide = jax.tree.map(lambda u, z: u / scaled(u) + z, dual, forth(x))
        near = prox(wide, 1 / dual_step)
        return jax.tree.map(lambda v, p: scaled(v) * (v - p), wide, near)

    def init(position, rng_key=None):
        del rng_key
        state = start(where, evaluate, position)
        zero = forth(jax.tree.map(jnp.zeros_like, state.position))
        if is_concrete(zero) and any(np.any(np.asarray(a) != 0) for a in jax.tree.leaves(zero)):
            raise ValueError(f"{where}: operator must be linear, 0 at 0; got {zero}")
        return PrimalDualState(*state, rise(jax.tree.map(jnp.zeros_like, zero), state.position))

    def step(rng_key, state):
        x = state.position
        _, back = jax.vjp(forth, x)
        drift = jax.tree.map(jnp.subtract, state.logdensity_grad, back(state.dual)[0])
        before = LangevinState(x, state.logdensity, state.logdensity_grad)
        new, info = land(evaluate, before, euler(x, drift, noise_like(rng_key, x), dt))
        ahead = jax.tree.map(lambda a, b: 2 * a - b, new.position, x)
        dual = keep_or_take(~info.is_divergent, rise(state.dual, ahead), state.dual)
        return PrimalDualState(*new, dual), info

    return sampling_algorithm(init, step)
