"""Log-likelihoods of data x [*event] under a generative process, nats. Door: f(process, denoiser,
ts, *, ...) -> log_prob(key, x) -> [].

`flow_ode` is the density of the probability flow, `elbo` a bound, `path_weight` one importance
weight of the sampler's chain; each has a sibling that reports its terms. `importance` and
`dequantised` change any log_prob(key, x), and `bits_per_dim` converts at the end. `annealed` asks
for no process: it normalises an energy along a path of exponents, given a kernel.
"""

from jaxgen.likelihoods._annealed import (
    AnnealedTerms,
    annealed,
    annealed_reverse,
    annealed_terms,
)
from jaxgen.likelihoods._bits import bits_per_dim
from jaxgen.likelihoods._decoders import discretised_decoder, gaussian_decoder
from jaxgen.likelihoods._dequantised import dequantised
from jaxgen.likelihoods._elbo import ElboIntegrands, ElboTerms, elbo, elbo_integrands, elbo_terms
from jaxgen.likelihoods._flow_ode import FlowTerms, flow_ode, flow_ode_terms
from jaxgen.likelihoods._importance import (
    ImportanceTerms,
    importance,
    importance_terms,
    path_weight,
)
from jaxgen.likelihoods._nonlinear import (
    BoundTerms,
    ChangeTerms,
    nonlinear_elbo,
    nonlinear_elbo_terms,
    nonlinear_flow_ode,
    nonlinear_flow_ode_terms,
)
from jaxgen.likelihoods._schedule import Schedule, schedule_loss

__all__ = [
    "AnnealedTerms",
    "BoundTerms",
    "ChangeTerms",
    "ElboIntegrands",
    "ElboTerms",
    "FlowTerms",
    "ImportanceTerms",
    "Schedule",
    "annealed",
    "annealed_reverse",
    "annealed_terms",
    "bits_per_dim",
    "dequantised",
    "discretised_decoder",
    "elbo",
    "elbo_integrands",
    "elbo_terms",
    "flow_ode",
    "flow_ode_terms",
    "gaussian_decoder",
    "importance",
    "importance_terms",
    "nonlinear_elbo",
    "nonlinear_elbo_terms",
    "nonlinear_flow_ode",
    "nonlinear_flow_ode_terms",
    "path_weight",
    "schedule_loss",
]
