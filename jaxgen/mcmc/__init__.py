"""Markov chain Monte Carlo that blackjax lacks, in its shape.

Door: `f(logdensity_fn, ...) -> SamplingAlgorithm`, whose `init(position, rng_key)` and
`step(rng_key, state) -> (state, info)` work with blackjax's loops, adaptation and diagnostics; the
state's `position` [*event] is the sample. `dt` is that of dX = grad log p dt + sqrt(2) dW. HMC,
NUTS, MALA, random walks, SGLD, SGHMC and tempered SMC are blackjax's own.

A log-density that is NaN or +inf raises ValueError at a concrete start. On the way nothing raises:
such a proposal is rejected, or such a step not taken, and `info.is_divergent` says so.

Adjusted kernels leave exp(logdensity_fn) invariant; the Langevin family is biased by O(dt) or, on
Gaussian targets, `underdamped` not at all. Beside the door: `prox`, the proximal maps of `myula`,
`proximal_gradient` and `primal_dual`; `intractable`, posteriors of models that can only be
simulated; the ladder of `parallel_tempering` from its swaps; and the private release of samples.
"""

from jaxgen.mcmc import intractable, prox
from jaxgen.mcmc._accept import MetropolisInfo
from jaxgen.mcmc._gibbs import GibbsInfo, GibbsState, block_gibbs, coloured_gibbs
from jaxgen.mcmc._independent import IndependentState, block_proposals, independent
from jaxgen.mcmc._ladder import adapt_ladder, communication_barrier, round_trip_rate
from jaxgen.mcmc._langevin import (
    AnnealedState,
    LangevinInfo,
    LangevinState,
    annealed,
    preconditioned,
    ula,
)
from jaxgen.mcmc._locally_informed import DiscreteState, discrete_langevin, gibbs_with_gradients
from jaxgen.mcmc._mirror import mirror_langevin
from jaxgen.mcmc._primal_dual import PrimalDualState, primal_dual
from jaxgen.mcmc._private import coupled_distances, private_budget, private_release
from jaxgen.mcmc._proximal import myula, proximal_gradient
from jaxgen.mcmc._structured import StructuredState, structured
from jaxgen.mcmc._suffix import SuffixInfo, SuffixState, suffix_regeneration
from jaxgen.mcmc._tempering import TemperingInfo, TemperingState, parallel_tempering
from jaxgen.mcmc._underdamped import UnderdampedState, underdamped
from jaxgen.mcmc._within import WithinGibbsInfo, WithinGibbsState, within_gibbs

__all__ = [
    "AnnealedState",
    "DiscreteState",
    "GibbsInfo",
    "GibbsState",
    "IndependentState",
    "LangevinInfo",
    "LangevinState",
    "MetropolisInfo",
    "PrimalDualState",
    "StructuredState",
    "SuffixInfo",
    "SuffixState",
    "TemperingInfo",
    "TemperingState",
    "UnderdampedState",
    "WithinGibbsInfo",
    "WithinGibbsState",
    "adapt_ladder",
    "annealed",
    "block_gibbs",
    "block_proposals",
    "coloured_gibbs",
    "communication_barrier",
    "coupled_distances",
    "discrete_langevin",
    "gibbs_with_gradients",
    "independent",
    "intractable",
    "mirror_langevin",
    "myula",
    "parallel_tempering",
    "preconditioned",
    "primal_dual",
    "private_budget",
    "private_release",
    "prox",
    "proximal_gradient",
    "round_trip_rate",
    "structured",
    "suffix_regeneration",
    "ula",
    "underdamped",
    "within_gibbs",
]
