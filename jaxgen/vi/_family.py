"""Families of laws to choose from, and the bound that chooses."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Family(NamedTuple):
    """Laws over x [*event] indexed by parameters, any tree; a recipe of pure functions.

    `draws` hands out a whole set of weighted points, one for each stratum, through which gradients
    reach the parameters: sum_s exp(log_weights_s) f(xs_s) has the mean E f. `sample` is one plain
    draw. Source: definition; strata as in Morningstar et al. 2021, arXiv 2003.01687.
    """

    init: Callable  # key -> params
    sample: Callable  # (params, key) -> x [*event]
    logdensity: Callable  # (params, x [*event]) -> [], normalised, nats
    draws: Callable  # (params, key) -> (xs [s, *event], log_weights [s])


def elbo(logdensity_fn, family, *, draws=1, landing=False, importance=False):
    """loss_fn(params, key) -> [] nats, minus a lower bound on the log-normaliser of
    exp(logdensity_fn); its minimum is the closest law of the family in KL(q || p).

    For any optimiser: its gradient is unbiased for that of its mean.

    Args: logdensity_fn(x [*event]) -> []; family, a `Family`; draws, how many sets of `draws` are
        averaged; landing: log q is differentiated through x only, so that the gradient is exact,
        not only on average, once q = p; importance: the average is taken inside the logarithm,
        which tightens the bound with every draw, and no longer finds the KL's minimum.
    Raises ValueError on draws that are not a positive integer, or on both options at once: the
    shortcut is biased there.
    Source: Roeder, Wu and Duvenaud 2017, arXiv 1703.09194 (landing); Burda, Grosse and
    Salakhutdinov 2016, arXiv 1509.00519 (importance); Morningstar et al. 2021, arXiv 2003.01687
    (both over strata).
    """
    if not isinstance(draws, int) or draws < 1:
        raise ValueError(f"vi.elbo: draws must be a positive integer; got {draws}")
    if landing and importance:
        raise ValueError("vi.elbo: landing and importance exclude each other; got both")

    def one(params, key):
        xs, log_weights = family.draws(params, key)
        law = jax.lax.stop_gradient(params) if landing else params
        log_ratios = jax.vmap(lambda x: logdensity_fn(x) - family.logdensity(law, x))(xs)
        return log_weights, log_ratios

    def loss_fn(params, key):
        log_weights, log_ratios = jax.vmap(one, (None, 0))(params, jax.random.split(key, draws))
        if importance:
            return math.log(draws) - jax.nn.logsumexp(log_weights + log_ratios)
        return -jnp.sum(jnp.exp(log_weights) * log_ratios) / draws

    return loss_fn
