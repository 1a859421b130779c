"""Exponential families: p(x | η) = exp(<η, T(x)> - A(η)) b(x), and what follows from A alone.

Door: a member, `f(...) -> ExponentialFamily`, is a record that crosses `jit` as an argument, and
`f(family, natural [p], ...)` is a verb: mean parameters are the gradient of A, Fisher information
its Hessian, the Kullback-Leibler divergence its Bregman divergence. Natural and mean parameters are
flat, [p], and minimal, so that the Fisher information is regular. Numbers are in nats. Outside the
domain of a family (a precision below zero, a mean that no law has) what comes back is nan.
"""

from jaxgen.math.exponential_family._members import (
    bernoulli,
    categorical,
    exponential,
    gamma,
    gaussian,
    normal,
    poisson,
    softmax,
)
from jaxgen.math.exponential_family._record import (
    ExponentialFamily,
    conjugate,
    entropy,
    exponential_family,
    fisher_information,
    kl_divergence,
    logdensity,
    to_mean,
    to_natural,
)

__all__ = [
    "ExponentialFamily",
    "bernoulli",
    "categorical",
    "conjugate",
    "entropy",
    "exponential",
    "exponential_family",
    "fisher_information",
    "gamma",
    "gaussian",
    "kl_divergence",
    "logdensity",
    "normal",
    "poisson",
    "softmax",
    "to_mean",
    "to_natural",
]
