"""Maximum likelihood with a moving estimate of the normaliser, in log space."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.losses.energy._contrastive import check_at_least
from jaxgen.math import is_concrete


class Compositional(NamedTuple):
    """A batch loss and the estimate it carries. Source: definition."""

    init: Any  # (params, key, **cond) -> state
    loss: Any  # (params, key, xs [n, *event], state, **cond) -> ([], state), for has_aux=True


class CompositionalState(NamedTuple):
    """The moving estimate of the normaliser. Source: definition."""

    log_normaliser: Any  # [], nats: log u


def compositional(logdensity_fn, noise, *, draws, decay=0.1):
    """`Compositional`: the loss -mean log p(xs) + log u, nats, whose gradient divides the model's
    importance weights by a moving estimate u of Z instead of the batch's own mean.

    At every call u <- (1 - decay) u + decay mean_j p(y_j) / q(y_j) over `draws` draws of the noise,
    and the gradient is -mean grad log p(xs) + mean_j (p(y_j) / (q(y_j) u)) grad log p(y_j). With
    decay 1 it is the plain gradient of the log of the mean, biased by O(1 / draws); a smaller decay
    averages that bias away at a lag of 1 / decay steps. Momentum is the optimiser's. At a fixed
    model u -> Z. The landscape is that of the likelihood; the price is Var p / q under q, which
    ends it where the noise misses the model: exp(|m|^2) - 1 for unit Gaussians |m| apart.

    Args: logdensity_fn(params, x, **cond) -> [], unnormalised, cond shared by the batch; noise, any
    record with sample(key) -> [*event] and logdensity(y) -> [], normalised; decay in (0, 1],
    possibly traced (let it fall with the learning rate). Raises ValueError outside these.
    Source: Jiang et al. 2023, arXiv 2306.07485, algorithm 1; in log space, deviating.
    """
    check_at_least("compositional", draws=(draws, 1))
    if is_concrete(decay) and not 0 < decay <= 1:
        raise ValueError(f"losses.energy.compositional: decay must lie in (0, 1]; got {decay}")

    def log_mean(params, key, cond):
        fakes = jax.vmap(noise.sample)(jax.random.split(key, draws))
        gap = lambda y: logdensity_fn(params, y, **cond) - noise.logdensity(y)
        return jax.nn.logsumexp(jax.vmap(gap)(fakes)) - np.log(draws)

    def init(params, key, **cond):
        return CompositionalState(jax.lax.stop_gradient(log_mean(params, key, cond)))

    def loss(params, key, xs, state, **cond):
        now = log_mean(params, key, cond)
        held = jax.lax.stop_gradient(now)
        kept = jnp.log1p(-jnp.asarray(decay, held.dtype)) + state.log_normaliser
        log_u = jnp.logaddexp(kept, jnp.log(jnp.asarray(decay, held.dtype)) + held)
        # At most 1 / decay, because u holds that share of the batch: no overflow
        weight = jnp.exp(held - log_u)
        fit = jnp.mean(jax.vmap(lambda x: logdensity_fn(params, x, **cond))(xs))
        return log_u - fit + weight * (now - held), CompositionalState(log_u)

    return Compositional(init, loss)
