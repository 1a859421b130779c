"""Closed-form laws: the truths that tests compare with. Vectors are flat, [d]; log-densities are in
nats.

Door: a mixture record (`gaussian`, `gaussian_mixture`, `low_rank_mixture`), and what is exact about
it under any linear process: `marginal`, `denoiser`, `posterior_covariance`; score and velocity
follow from the denoiser.
"""

from jaxgen.densities._entrywise import logistic, student_t
from jaxgen.densities._mixture import (
    GaussianMixture,
    denoiser,
    distribution,
    gaussian,
    gaussian_mixture,
    low_rank_mixture,
    marginal,
    posterior_covariance,
)

__all__ = [
    "GaussianMixture",
    "denoiser",
    "distribution",
    "gaussian",
    "gaussian_mixture",
    "logistic",
    "low_rank_mixture",
    "marginal",
    "posterior_covariance",
    "student_t",
]
