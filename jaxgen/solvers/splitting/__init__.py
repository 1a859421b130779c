"""Integrators for phase space, which split position from velocity, or the score from the rest.

Door: f(process, denoiser, *, ...) -> Solver, for block processes, z [c, *event]: ValueError on a
scalar process.
"""

from jaxgen.solvers.splitting._conjugate import conjugate
from jaxgen.solvers.splitting._sscs import sscs
from jaxgen.solvers.splitting._verlet import verlet

__all__ = ["conjugate", "sscs", "verlet"]
