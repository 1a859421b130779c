"""Exponential integrators: the linear part of the probability flow is exact, the network's share is
interpolated.

Door: f(process, denoiser, *, ...) -> Solver, on scalar processes (z [*event]) and blocks (z [c,
*event]) alike; exact in one step when the held prediction is constant.
"""

from jaxgen.solvers.exponential._adams_moulton import adams_moulton
from jaxgen.solvers.exponential._dpm_multistep import dpm_solver_multistep, dpmpp_2m
from jaxgen.solvers.exponential._general import GeneralRow, general, generalise
from jaxgen.solvers.exponential._inversion import Pair, reversible
from jaxgen.solvers.exponential._ipndm import ipndm, lms
from jaxgen.solvers.exponential._known_first import known_first
from jaxgen.solvers.exponential._multistep import adams_bashforth, ddim, deis
from jaxgen.solvers.exponential._refined import refined
from jaxgen.solvers.exponential._runge_kutta import edm_heun, rho_rk
from jaxgen.solvers.exponential._schedule import Schedule, named_schedule, schedule
from jaxgen.solvers.exponential._single_step import dpm_solver
from jaxgen.solvers.exponential._unipc import unipc
from jaxgen.solvers.exponential._usf import usf
from jaxgen.solvers.exponential._v3 import ModelStatistics, dpm_solver_v3, model_statistics

__all__ = [
    "GeneralRow",
    "ModelStatistics",
    "Pair",
    "Schedule",
    "adams_bashforth",
    "adams_moulton",
    "ddim",
    "deis",
    "dpm_solver",
    "dpm_solver_multistep",
    "dpm_solver_v3",
    "dpmpp_2m",
    "edm_heun",
    "general",
    "generalise",
    "ipndm",
    "known_first",
    "lms",
    "model_statistics",
    "named_schedule",
    "refined",
    "reversible",
    "rho_rk",
    "schedule",
    "unipc",
    "usf",
]
