"""Stochastic samplers of the reverse-time SDE. Door: f(process, denoiser, *, ...) -> Solver, z
[*event] or [c, *event].
"""

from jaxgen.solvers.sde._ancestral import ancestral
from jaxgen.solvers.sde._euler_maruyama import euler_maruyama

__all__ = ["ancestral", "euler_maruyama"]
