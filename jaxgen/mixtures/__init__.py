"""Mixtures fitted to data: parameters, responsibilities, and EM as (init, step).

Door: `f(k, *, ...) -> EM`, a recipe of two pure functions, `init(key, xs [n, *event]) -> params`
and `step(params, xs, weights [n] or None) -> (params, info)`, whose info holds the mean
log-likelihood of the parameters that the step was given. A record of parameters becomes a law by
the constructor of the same name in `densities`: `densities.von_mises_mixture(*params)`.
"""

from jaxgen.mixtures._em import EM, EMInfo
from jaxgen.mixtures._von_mises import VonMisesMixture, von_mises, von_mises_responsibilities

__all__ = ["EM", "EMInfo", "VonMisesMixture", "von_mises", "von_mises_responsibilities"]
