"""The decision of Metropolis and Hastings, safe against what is not a number.

Source: Metropolis et al. 1953; Hastings 1970.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.mcmc._checks import is_bad


class MetropolisInfo(NamedTuple):
    """What a Metropolis step tells a person. Source: definition."""

    acceptance_rate: Any  # [], probability of acceptance
    is_accepted: Any  # []
    is_divergent: Any  # [], the proposal's log-density was NaN or +inf, or its ratio was NaN
    proposal: Any  # [*event], accepted or not
    log_forward: Any  # [], log-probability (density) with which it was proposed, nats


def keep_or_take(taken, new, old):
    """The tree `new` where taken [], else `old`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(taken, a, b), new, old)


def decide(key, log_ratio, new, old, forward):
    """(state, info): the state `new` with probability min(1, exp(log_ratio [])), else `old`.

    States have fields position and logdensity; forward [] is reported. A proposal that is no point
    of a distribution is rejected and counted as divergent.
    """
    divergent = is_bad(new.logdensity) | jnp.isnan(log_ratio)
    log_ratio = jnp.where(divergent, -jnp.inf, log_ratio)
    uniform = jax.random.uniform(key, (), log_ratio.dtype)
    taken = jnp.log(uniform) < log_ratio
    rate = jnp.exp(jnp.minimum(log_ratio, 0))
    info = MetropolisInfo(rate, taken, divergent, new.position, forward)
    return keep_or_take(taken, new, old), info
