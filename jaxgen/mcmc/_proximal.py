"""Langevin on exp(f(x) - g(x)) with f smooth and g convex, known by its proximal map.

    prox(x, step) = argmin_y g(y) + |y - x|^2 / (2 step)        (see `jaxgen.mcmc.prox`)

Sources: Durmus, Moulines and Pereyra 2018, arXiv 1612.07471 (MYULA); Salim, Kovalev and Richtarik
2019, arXiv 1905.11768 (the proximal step after the noise); Durmus, Majewski and Miasojedow 2019,
arXiv 1802.09188 (Langevin as optimisation, proximal steps); Lau et al. 2023, arXiv 2305.15988.
"""

import jax
import jax.numpy as jnp

from jaxgen.mcmc._checks import positive
from jaxgen.mcmc._langevin import euler, land, noise_like, start
from jaxgen.types import sampling_algorithm


def myula(logdensity_fn, prox, dt, *, smoothing):
    """Moreau-Yosida unadjusted Langevin on exp(logdensity_fn(x) - g(x)), x [*event]; as a
    `SamplingAlgorithm`: x' = x + dt [grad log p - (x - prox(x, smoothing)) / smoothing]
    + sqrt(2 dt) xi.

    It targets the smooth envelope of g, which tends to g as `smoothing` falls, plus the bias O(dt)
    of `ula`; dt should stay below about smoothing. The state's log-density is that of
    logdensity_fn alone.

    Args: prox(x [*event], step []) -> [*event], from `jaxgen.mcmc.prox`; dt, smoothing [], > 0.
    Raises ValueError on numbers that are not positive; `init` as `ula`.
    Source: Durmus, Moulines and Pereyra 2018, arXiv 1612.07471.
    """
    where = "mcmc.myula"
    positive(where, dt=dt, smoothing=smoothing)
    evaluate = jax.value_and_grad(logdensity_fn)

    def init(position, rng_key=None):
        del rng_key
        return start(where, evaluate, position)

    def step(rng_key, state):
        x, gradient = state.position, state.logdensity_grad
        pull = lambda g, near, a: g + (near - a) / jnp.asarray(smoothing, a.dtype)
        drift = jax.tree.map(pull, gradient, prox(x, smoothing), x)
        return land(evaluate, state, euler(x, drift, noise_like(rng_key, x), dt))

    return sampling_algorithm(init, step)


def proximal_gradient(logdensity_fn, prox, dt, *, noise="before"):
    """Proximal gradient Langevin (forward-backward) on exp(logdensity_fn(x) - g(x)), x [*event];
    as a `SamplingAlgorithm`.

        noise="before":  x' = prox(x + dt grad log p + sqrt(2 dt) xi, dt)
        noise="after":   x' = prox(x + dt grad log p, dt) + sqrt(2 dt) xi

    "before" leaves samples with the structure of g, such as exact zeros; "after" leaves a density.
    Both are biased by O(dt). The state's log-density is that of logdensity_fn alone.

    Args: prox(x [*event], step []) -> [*event], from `jaxgen.mcmc.prox`; dt [], > 0. Raises
    ValueError on a dt that is not positive or another word; `init` as `ula`.
    Source: Salim, Kovalev and Richtarik 2019, arXiv 1905.11768, algorithm 1, one proximal term
    ("before"); Lau et al. 2023, arXiv 2305.15988 (the family).
    """
    where = "mcmc.proximal_gradient"
    positive(where, dt=dt)
    if noise not in ("before", "after"):
        raise ValueError(f"{where}: noise must be 'before' or 'after' the prox; got {noise!r}")
    evaluate = jax.value_and_grad(logdensity_fn)

    def init(position, rng_key=None):
        del rng_key
        return start(where, evaluate, position)

    def step(rng_key, state):
        x, draws = state.position, noise_like(rng_key, state.position)
        nothing = jax.tree.map(jnp.zeros_like, x)
        if noise == "before":
            new = prox(euler(x, state.logdensity_grad, draws, dt), dt)
        else:
            new = euler(prox(euler(x, state.logdensity_grad, nothing, dt), dt), nothing, draws, dt)
        return land(evaluate, state, new)

    return sampling_algorithm(init, step)
