"""How parameters are proposed, with the density that Hastings' ratio needs.

Source: Hastings 1970.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._checks import is_bad, valid_start


class Proposal(NamedTuple):
    """A move of parameters theta [*event] and its density. Source: definition."""

    sample: Callable  # (key, theta) -> theta
    logdensity: Callable  # (new, old) -> [], nats; 0 of a symmetric move


class ParameterState(NamedTuple):
    """Where a chain over parameters is. Source: definition."""

    position: Any  # theta [*event]
    logdensity: Any  # [], nats: prior and what is known of the likelihood, up to its normaliser
    extra: Any  # what the method keeps: () or the distance [] of the simulated data


def random_walk(scale):
    """A symmetric `Proposal`: theta [*event] plus normal noise of standard deviation `scale`, a
    number or a tree of arrays like theta.

    Raises ValueError unless concrete scales are positive. Source: Metropolis et al. 1953.
    """
    for leaf in jax.tree.leaves(scale):
        if is_concrete(leaf) and not (np.all(np.asarray(leaf) > 0) and np.all(np.isfinite(leaf))):
            raise ValueError(
                f"mcmc.intractable.random_walk: scale must be positive and finite; got {leaf}"
            )

    def sample(key, theta):
        leaves, shape = jax.tree.flatten(theta)
        each = jax.tree.leaves(scale)
        each = each * len(leaves) if len(each) == 1 else each
        moved = [
            a
            + jnp.asarray(s, a.dtype)
            * jax.random.normal(jax.random.fold_in(key, i), a.shape, a.dtype)
            for i, (a, s) in enumerate(zip(leaves, each, strict=True))
        ]
        return jax.tree.unflatten(shape, moved)

    return Proposal(sample, lambda new, old: 0.0)


def with_density(where, proposal):
    """Raises ValueError on a proposal without sample or density."""
    if getattr(proposal, "logdensity", None) is None or not hasattr(proposal, "sample"):
        raise ValueError(
            f"{where}: the proposal must have sample(key, theta) and logdensity(new, old), or "
            f"Hastings' ratio is unknown (random_walk makes one); got {proposal!r}"
        )


def start(where, theta, at):
    """The state at a theta, a tree of arrays; ValueError where its log-density is impossible."""
    state = at(jax.tree.map(jnp.asarray, theta))
    valid_start(where, state.logdensity)
    return state


def joint(logprior, loglikelihood):
    """Their sum [], -inf wherever the prior is: there the likelihood need not make sense."""
    impossible = ~is_bad(logprior) & (logprior == -jnp.inf)
    return jnp.where(impossible, -jnp.inf, logprior + jnp.where(impossible, 0, loglikelihood))
