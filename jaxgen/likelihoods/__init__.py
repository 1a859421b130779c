"""Log-likelihoods of data x [*event] under a generative process, nats. Door: f(process, denoiser,
ts, *, ...) -> log_prob(key, x) -> [].

`bits_per_dim` converts at the end.
"""

from jaxgen.likelihoods._bits import bits_per_dim
from jaxgen.likelihoods._flow_ode import FlowTerms, flow_ode, flow_ode_terms

__all__ = ["FlowTerms", "bits_per_dim", "flow_ode", "flow_ode_terms"]
