"""Samplers as tables, and the one loop that runs them.

`solve(key, solver, x, ts)` takes x [*event] along stops ts [n + 1]. Doors: `ode` f(field, ...),
`exponential` and `sde` f(process, denoiser, ...); all return a `Solver`. `adjoint` f(process,
denoise, ts, ...) differentiates a sampler by the adjoint equation. `search` finds tables rather
than derives them. `splitting` is like `exponential`, for phase space.
"""

from jaxgen.solvers import adjoint, exponential, ode, sde, search, splitting
from jaxgen.solvers._anatomy import Anatomy, error_anatomy
from jaxgen.solvers._recommend import Recommendation, recommend
from jaxgen.solvers._solve import solve

__all__ = [
    "Anatomy",
    "Recommendation",
    "adjoint",
    "error_anatomy",
    "exponential",
    "ode",
    "recommend",
    "sde",
    "search",
    "solve",
    "splitting",
]
