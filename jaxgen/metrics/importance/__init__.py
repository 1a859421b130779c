"""Importance sampling for several expectations at once, from one sample.

Door: `estimate(log_weights [n], values [n, J]) -> Expectations` (values, standard errors), with the
weight's mean as control variate; `optimal_logdensity` is the best proposal; `fit_gaussian` and
`fit_mixture` fit one to weighted points xs [n, d]; `adaptive(...) -> Adaptive(init, step, draw,
proposal)` puts them together. `pick_freeze` and `sobol` make Sobol' indices of it.
"""

from jaxgen.metrics.importance._adaptive import Adaptive, AdaptiveState, adaptive
from jaxgen.metrics.importance._estimate import (
    Expectations,
    effective_sample_size,
    estimate,
    optimal_logdensity,
)
from jaxgen.metrics.importance._proposal import fit_gaussian, fit_mixture
from jaxgen.metrics.importance._sobol import Sobol, pick_freeze, sobol

__all__ = [
    "Adaptive",
    "AdaptiveState",
    "Expectations",
    "Sobol",
    "adaptive",
    "effective_sample_size",
    "estimate",
    "fit_gaussian",
    "fit_mixture",
    "optimal_logdensity",
    "pick_freeze",
    "sobol",
]
