"""Samplers as tables, and the one loop that runs them.

`solve(key, solver, x, ts)` takes x [*event] along stops ts [n + 1]. Doors: `exponential` (process, denoiser), more to come in
`ode` (field) and `sde` (process, denoiser); all return a `Solver`.
"""

from jaxgen.solvers import exponential
from jaxgen.solvers._solve import solve

__all__ = ["exponential", "solve"]
