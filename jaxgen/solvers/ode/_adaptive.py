"""Adaptive steps, by diffrax: the one file that knows it."""

import jax
import jax.numpy as jnp

from jaxgen.math import is_concrete
from jaxgen.solvers.ode._runge_kutta import OdeInfo, OdeState, plan_ends
from jaxgen.types import Solver

METHODS = {"tsit5": ("Tsit5", 5), "dopri8": ("Dopri8", 8), "bosh3": ("Bosh3", 3)}


def adaptive(field, *, rtol=1e-6, atol=1e-6, method="tsit5", max_steps=4096):
    """A Solver that chooses its own steps between the stops, to tolerances rtol and atol, for x
    [*event] or a tree.

    `info.evaluations` [] counts the stages of all steps tried between two stops, rejected ones too
    (not the two or so evaluations that choose the first step); under vmap each example takes its
    own steps. `Solver.evaluations` is that of one accepted step per stop, a lower bound. When
    max_steps run out between two stops the result is NaN. Below float32 the field is handed a
    float32 x, and the dtype is restored at each stop. Gradients are discretise-then-optimise
    (diffrax's recursive checkpoints). Raises ValueError on an unknown method, a tolerance that is
    not positive, or max_steps < 1. Source: Kidger 2021, arXiv 2202.02435; Tsitouras 2011; Prince
    and Dormand 1981; Bogacki and Shampine 1989.
    """
    if method not in METHODS:
        raise ValueError(
            f"solvers.ode.adaptive: method must be one of {', '.join(METHODS)}; got {method!r}"
        )
    if is_concrete(rtol, atol) and not (rtol > 0 and atol > 0):
        raise ValueError(
            f"solvers.ode.adaptive: tolerances must be positive; got rtol={rtol}, atol={atol}"
        )
    if max_steps < 1:
        raise ValueError(f"solvers.ode.adaptive: max_steps must be at least 1; got {max_steps}")
    import diffrax

    name, order = METHODS[method]
    tableau = getattr(diffrax, name)()
    stages = tableau.tableau.num_stages - (1 if tableau.tableau.fsal else 0)
    terms = diffrax.ODETerm(lambda t, x, args: field(x, t))
    controller = diffrax.PIDController(rtol=rtol, atol=atol)

    def step(key, state, row):
        solution = diffrax.diffeqsolve(
            terms,
            tableau,
            t0=row.t,
            t1=row.t_next,
            dt0=None,
            y0=state.x,
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )
        good = solution.result == diffrax.RESULTS.successful
        x = jax.tree.map(
            lambda path, like: jnp.where(good, path[-1], jnp.nan).astype(like.dtype),
            solution.ys,
            state.x,
        )
        return OdeState(x), OdeInfo(row.t_next, solution.stats["num_steps"] * stages)

    return Solver(plan_ends, lambda x, ts: OdeState(x), step, order, lambda n: stages * n)
