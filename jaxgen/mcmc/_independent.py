"""Metropolis with a law as proposal: a fitted or a learned one.

Sources: Tierney 1994 (independence chains); Wang et al. 2018, arXiv 1708.06040 (block proposals
learned across models: a network that reads the rest of the variables).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.mcmc._accept import decide
from jaxgen.mcmc._checks import valid_start
from jaxgen.mcmc._within import within_gibbs
from jaxgen.types import sampling_algorithm


class IndependentState(NamedTuple):
    """Where a chain with independent proposals is. Source: definition."""

    position: Any  # [*event]
    logdensity: Any  # [], nats
    log_proposal: Any  # [], nats, of the proposal law at the position


def independent(logdensity_fn, proposal):
    """Independent Metropolis on exp(logdensity_fn(x)), x [*event] any tree; as a
    `SamplingAlgorithm`.

    Args: proposal, a `Distribution`: sample(key) -> x and logdensity(x) -> [], normalised or not.
    Where it puts nothing, the chain never goes. Raises ValueError on a proposal without density;
    `init` on a log-density that is NaN or +inf. A proposal whose density is NaN or +inf is
    rejected and counted as divergent.
    Source: Tierney 1994, section 2.3.3.
    """
    where = "mcmc.independent"
    _with_density(where, proposal)

    def state_at(x):
        return IndependentState(x, logdensity_fn(x), proposal.logdensity(x))

    def init(position, rng_key=None):
        del rng_key
        state = state_at(jax.tree.map(jnp.asarray, position))
        valid_start(where, state.logdensity)
        valid_start(f"{where}, proposal", state.log_proposal)
        return state

    def step(rng_key, state):
        key_propose, key_accept = jax.random.split(rng_key)
        new = state_at(proposal.sample(key_propose))
        ratio = new.logdensity - state.logdensity + state.log_proposal - new.log_proposal
        ratio = jnp.where(new.log_proposal == jnp.inf, jnp.nan, ratio)
        return decide(key_accept, ratio, new, state, new.log_proposal)

    return sampling_algorithm(init, step)


def block_proposals(logdensity_fn, proposals, *, scan="cycle"):
    """Metropolis within Gibbs whose blocks are proposed by laws that read the rest, x a dict of
    arrays [*event]; as a `SamplingAlgorithm`.

    A block B is accepted with probability min(1, p(x'_B, x_C) q(x_B | x_C) / (p(x_B, x_C)
    q(x'_B | x_C))): exact for any q, and always accepted when q is the conditional law. So q may
    be learned, on models of the same kind, by minimising E[-log q(x_B | x_C)].

    Args: proposals {block: rest -> Distribution}, a block a name of x or a tuple of names, whose
    values are then a dict; rest, the dict of the other names; scan as in `within_gibbs`. Raises
    ValueError where `within_gibbs` and `independent` do.
    Source: Wang et al. 2018, arXiv 1708.06040.
    """
    kernels = {
        block: lambda logdensity_fn, rest, law=law: independent(logdensity_fn, law(rest))
        for block, law in proposals.items()
    }
    return within_gibbs(logdensity_fn, kernels, scan=scan)


def _with_density(where, proposal):
    if getattr(proposal, "logdensity", None) is None or not hasattr(proposal, "sample"):
        raise ValueError(
            f"{where}: the proposal must have sample and logdensity, or target times proposal "
            f"would be sampled; got {proposal!r}"
        )
