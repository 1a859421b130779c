"""Stochastic samplers of the reverse-time SDE and its family of noise levels. Door: f(process,
denoiser, *, ...) -> Solver, z [*event] or [c, *event].

Two functions change a Solver of this door: `brownian` gives it the noise of one path, whatever the
grid, and `predictor_corrector` adds steps of a Markov kernel, such as `langevin`. A nonlinear
process has `forward(process)` and `reverse(process, score_fn)`. `soft_mixture` takes a denoiser
(z, t, latent) -> [*event]; `refreshed` hands any of them an estimator and fresh noise.

`foellmer` and `controlled` take a drift instead of a process, along stops that rise to the target.
"""

from jaxgen.solvers.sde._ancestral import ancestral
from jaxgen.solvers.sde._brownian import brownian
from jaxgen.solvers.sde._churn import edm_churn
from jaxgen.solvers.sde._controlled import controlled, foellmer
from jaxgen.solvers.sde._corrector import langevin, predictor_corrector
from jaxgen.solvers.sde._euler_maruyama import euler_maruyama
from jaxgen.solvers.sde._frozen_score import frozen_score
from jaxgen.solvers.sde._multistep import ddim_eta, exponential_sde, sde_dpmpp_2m
from jaxgen.solvers.sde._nonlinear import forward, reverse
from jaxgen.solvers.sde._refreshed import refreshed
from jaxgen.solvers.sde._sa import sa_solver
from jaxgen.solvers.sde._soft_mixture import gaussian_components, soft_mixture
from jaxgen.solvers.sde._stages import seeds, stochastic_heun

__all__ = [
    "ancestral",
    "brownian",
    "controlled",
    "ddim_eta",
    "edm_churn",
    "euler_maruyama",
    "exponential_sde",
    "foellmer",
    "forward",
    "frozen_score",
    "gaussian_components",
    "langevin",
    "predictor_corrector",
    "refreshed",
    "reverse",
    "sa_solver",
    "sde_dpmpp_2m",
    "seeds",
    "soft_mixture",
    "stochastic_heun",
]
