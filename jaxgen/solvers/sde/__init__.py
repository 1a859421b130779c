"""Stochastic samplers of the reverse-time SDE. Door: f(process, denoiser, *, ...) -> Solver, z
[*event] or [c, *event].
"""

from jaxgen.solvers.sde._ancestral import ancestral
from jaxgen.solvers.sde._euler_maruyama import euler_maruyama
from jaxgen.solvers.sde._multistep import ddim_eta, exponential_sde, sde_dpmpp_2m
from jaxgen.solvers.sde._sa import sa_solver
from jaxgen.solvers.sde._stages import seeds, stochastic_heun

__all__ = [
    "ancestral",
    "ddim_eta",
    "euler_maruyama",
    "exponential_sde",
    "sa_solver",
    "sde_dpmpp_2m",
    "seeds",
    "stochastic_heun",
]
