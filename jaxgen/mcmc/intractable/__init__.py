"""Posteriors of models that one can simulate, but whose likelihood cannot be computed.

Door: `f(logprior_fn, ..., proposal, ...) -> SamplingAlgorithm` over parameters theta [*event],
whose state's `position` is theta. With a likelihood q(y | theta) / Z(theta) of unknown Z:
`exchange` (exact), `noisy_metropolis`, `double_metropolis`, given log q and a simulator. With a
simulator alone: `abc_mcmc`, and beside the door `abc_rejection`, with distances between summaries
such as `posterior_means`. `random_walk` makes a `Proposal`.

A start whose log-density is NaN or +inf raises ValueError; on the way nothing raises, such
proposals are rejected and `info.is_divergent` says so.
"""

from jaxgen.mcmc.intractable._abc import Kept, abc_mcmc, abc_rejection, posterior_means
from jaxgen.mcmc.intractable._exchange import double_metropolis, exchange, noisy_metropolis
from jaxgen.mcmc.intractable._proposal import ParameterState, Proposal, random_walk

__all__ = [
    "Kept",
    "ParameterState",
    "Proposal",
    "abc_mcmc",
    "abc_rejection",
    "double_metropolis",
    "exchange",
    "noisy_metropolis",
    "posterior_means",
    "random_walk",
]
