"""Exponential integrators: the linear part of the probability flow is exact, the network's share is
interpolated.

Door: f(process, denoiser, *, ...) -> Solver, on scalar processes (z [*event]) and blocks (z [c,
*event]) alike; exact in one step when the held prediction is constant.
"""

from jaxgen.solvers.exponential._multistep import adams_bashforth, ddim, deis, dpmpp_2m
from jaxgen.solvers.exponential._runge_kutta import edm_heun, rho_rk
from jaxgen.solvers.exponential._unipc import unipc

__all__ = ["adams_bashforth", "ddim", "deis", "dpmpp_2m", "edm_heun", "rho_rk", "unipc"]
