"""Training models known up to a constant. Door: f(logdensity_fn, ...) -> loss_fn(params, key, x0
[*event], **cond) -> [], nats.

logdensity_fn(params, x [*event], **cond) -> [] is unnormalised; `noise_contrastive` alone asks for
one that holds its normaliser as a parameter. Losses are for one example; `compositional` is a loss
of a batch with a state, `persistent` the chains that make negatives, and both are records of
functions. Kernels are arguments: kernel(logdensity_fn of x) -> SamplingAlgorithm.
Marginalisation models know log p(x_S) for every subset of sites of a discrete x [d]:
`marginal_reverse_kl` trains them on an energy alone, -> loss_fn(params, key). `score_apply` opens
`losses.score` to energies. Below: `recovery`, energies of noised data.
"""

from jaxgen.losses.energy import recovery
from jaxgen.losses.energy._compositional import Compositional, CompositionalState, compositional
from jaxgen.losses.energy._contrastive import (
    Chains,
    ChainsInfo,
    ChainsState,
    contrastive_divergence,
    persistent,
)
from jaxgen.losses.energy._marginals import (
    any_order_draw,
    any_order_likelihood,
    marginal_consistency,
    marginal_reverse_kl,
)
from jaxgen.losses.energy._noise import (
    conditional_noise_contrastive,
    noise_contrastive,
    ranking_noise_contrastive,
)
from jaxgen.losses.energy._score import score_apply

__all__ = [
    "Chains",
    "ChainsInfo",
    "ChainsState",
    "Compositional",
    "CompositionalState",
    "any_order_draw",
    "any_order_likelihood",
    "compositional",
    "conditional_noise_contrastive",
    "contrastive_divergence",
    "marginal_consistency",
    "marginal_reverse_kl",
    "noise_contrastive",
    "persistent",
    "ranking_noise_contrastive",
    "recovery",
    "score_apply",
]
