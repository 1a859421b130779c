"""jaxgen: probabilistic generative modelling as pure functions.

Rooms are modules, `jaxgen.<room>.<door>.<method>`; at the top stand only the verbs of every
notebook. Core functions take one example x [*event] and one time t []; the batch is `jax.vmap`,
and the user writes it.
"""

from jaxgen import (
    data,
    densities,
    energies,
    flows,
    grids,
    kernels,
    likelihoods,
    losses,
    math,
    mcmc,
    metrics,
    mixtures,
    nets,
    points,
    predictions,
    processes,
    smc,
    solvers,
    training,
    types,
    vi,
)
from jaxgen.predictions import as_denoiser, as_field, as_score, rechannel
from jaxgen.processes import corrupt, data_part, lift, prior
from jaxgen.solvers import solve

__version__ = "0.1.0"

__all__ = [
    "as_denoiser",
    "as_field",
    "as_score",
    "corrupt",
    "data",
    "data_part",
    "densities",
    "energies",
    "flows",
    "grids",
    "kernels",
    "lift",
    "likelihoods",
    "losses",
    "math",
    "mcmc",
    "metrics",
    "mixtures",
    "nets",
    "points",
    "predictions",
    "prior",
    "processes",
    "rechannel",
    "smc",
    "solve",
    "solvers",
    "training",
    "types",
    "vi",
]
