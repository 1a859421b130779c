"""Denoisers of a law known only by its unnormalised log-density, without data or training. Door:
f(process, logdensity_fn, draws, *, ...) -> denoiser (z, t) -> E[x0 | z_t = z] [*event].

Where a linear process shows x0 through its channel, x0 given z has the density p(x0) exp(-|heard -
gain x0|^2 / 2): the denoiser is a mean under it, estimated from draws that are handed in. Fixed
draws make a deterministic denoiser for any solver; `solvers.sde.refreshed` draws afresh at every
step. `foellmer` is the drift of a process that starts at a point.
"""

from jaxgen.predictions.from_density._ensemble import GaussianFit, ensemble, gaussian_fit
from jaxgen.predictions.from_density._foellmer import foellmer
from jaxgen.predictions.from_density._importance import effective_draws, importance
from jaxgen.predictions.from_density._langevin import InnerDraws, inner_draws, langevin
from jaxgen.predictions.from_density._rejection import (
    Kept,
    RejectionDraws,
    kept,
    rejection,
    rejection_draws,
)

__all__ = [
    "GaussianFit",
    "InnerDraws",
    "Kept",
    "RejectionDraws",
    "effective_draws",
    "ensemble",
    "foellmer",
    "gaussian_fit",
    "importance",
    "inner_draws",
    "kept",
    "langevin",
    "rejection",
    "rejection_draws",
]
