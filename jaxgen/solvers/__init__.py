"""Samplers as tables, and the one loop that runs them.

`solve(key, solver, x, ts)` takes x [*event] along stops ts [n + 1]. Doors: `ode` f(field, ...),
`exponential` and `sde` f(process, denoiser, ...); all return a `Solver`.
"""

from jaxgen.solvers import exponential, ode, sde
from jaxgen.solvers._solve import solve

__all__ = ["exponential", "ode", "sde", "solve"]
