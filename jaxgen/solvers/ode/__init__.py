"""Solvers for dx/dt = field(x, t). Door: f(field, *, ...) -> Solver, for x [*event] or any tree of
arrays.
"""

from jaxgen.solvers.ode._adaptive import adaptive
from jaxgen.solvers.ode._runge_kutta import euler, heun, rk4

__all__ = ["adaptive", "euler", "heun", "rk4"]
