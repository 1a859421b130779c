"""Closed-form laws: the truths that tests compare with. Vectors are flat, [d]; log-densities are in
nats.

Door: a mixture record (`gaussian`, `gaussian_mixture`, `low_rank_mixture`), and what is exact about
it under any linear process: `marginal`, `denoiser`, `posterior_components`, `posterior_covariance`;
score and velocity follow from the denoiser. `linear_posterior` is exact under a linear channel;
`mixture_rows` writes a record as rows of numbers, for networks, and `rows_mixture` reads them.
`relative_score` is that of any log-density. Angles and directions: `von_mises` on circles and tori,
`von_mises_fisher` on spheres, with entropy, divergence and maximum-likelihood fit.
"""

from jaxgen.densities._centred import centred_normal
from jaxgen.densities._conditioned import (
    linear_posterior,
    mixture_rows,
    rows_distribution,
    rows_mixture,
)
from jaxgen.densities._entrywise import logistic, student_t
from jaxgen.densities._mean_field import mean_field, mean_field_denoiser
from jaxgen.densities._mixture import (
    GaussianMixture,
    component_posteriors,
    denoiser,
    distribution,
    gaussian,
    gaussian_mixture,
    low_rank_mixture,
    marginal,
    posterior_components,
    posterior_covariance,
)
from jaxgen.densities._relative import hermite_noise, relative_score
from jaxgen.densities._subspaces import deciding_denoiser, subspace_distance
from jaxgen.densities._von_mises import (
    von_mises,
    von_mises_divergence,
    von_mises_entropy,
    von_mises_fit,
    von_mises_mixture,
)
from jaxgen.densities._von_mises_fisher import (
    von_mises_fisher,
    von_mises_fisher_divergence,
    von_mises_fisher_entropy,
    von_mises_fisher_fit,
)

__all__ = [
    "GaussianMixture",
    "centred_normal",
    "component_posteriors",
    "deciding_denoiser",
    "denoiser",
    "distribution",
    "gaussian",
    "gaussian_mixture",
    "hermite_noise",
    "linear_posterior",
    "logistic",
    "low_rank_mixture",
    "marginal",
    "posterior_components",
    "mean_field",
    "mean_field_denoiser",
    "mixture_rows",
    "posterior_covariance",
    "relative_score",
    "rows_distribution",
    "rows_mixture",
    "student_t",
    "subspace_distance",
    "von_mises",
    "von_mises_divergence",
    "von_mises_entropy",
    "von_mises_fisher",
    "von_mises_fisher_divergence",
    "von_mises_fisher_entropy",
    "von_mises_fisher_fit",
    "von_mises_fit",
    "von_mises_mixture",
]
