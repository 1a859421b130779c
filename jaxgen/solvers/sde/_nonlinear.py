"""Paths of a nonlinear process, towards noise and back."""

import jax
import jax.numpy as jnp

from jaxgen.math import is_concrete
from jaxgen.processes import nonlinear
from jaxgen.solvers.ode._runge_kutta import OdeInfo, OdeState, plan_ends
from jaxgen.solvers.sde._options import choose
from jaxgen.types import Solver

METHODS = {"heun": 2, "euler": 1}


def forward(process, *, method="heun"):
    """The Solver of dz = f dt + G dw itself, z [*event] run along rising stops: how a nonlinear
    process noises its data, which start at t = 0.

    Args: process, a `NonlinearForward`; method, "heun" (weak order 2 where G depends on t alone,
        else 1; two evaluations of the drift a step) or "euler" (Euler-Maruyama, order 1).
    Raises ValueError on an unknown method, a linear process, or (from plan) falling stops.
    Source: Kloeden and Platen 1992, section 15.1.
    """
    return _solver("forward", process, process.drift, method, rising=True)


def reverse(process, score_fn, *, method="heun"):
    """The Solver of the reverse-time SDE of a `NonlinearForward`, dz = (f - G G^T s - div G G^T) dt
    + G dw, z [*event] run along falling stops from a draw of process.prior.

    Args: score_fn(z, t) -> grad log p_t(z) [*event]; method as in `forward`, an evaluation being
        one of the score. For the probability flow instead hand `processes.nonlinear.flow_field` to
        a solver of `solvers.ode`.
    Raises ValueError on an unknown method, a linear process, or (from plan) rising stops.
    Source: Anderson 1982; Singhal et al. 2024, arXiv 2407.07998.
    """
    drift = nonlinear.reversed_drift(process, score_fn)
    return _solver("reverse", process, drift, method, rising=False)


def _solver(name, process, drift, method, *, rising):
    choose(name, "method", method, tuple(METHODS))
    if not hasattr(process, "prior"):
        raise ValueError(
            f"solvers.sde.{name}: the process must be a NonlinearForward; got "
            f"{type(process).__name__}"
        )
    moved = process._replace(drift=drift)

    def plan(ts):
        if is_concrete(ts) and (ts[-1] > ts[0]) != rising:
            raise ValueError(
                f"solvers.sde.{name}: stops must {'rise' if rising else 'fall'}; "
                f"got {ts[0]} to {ts[-1]}"
            )
        return plan_ends(ts)

    def step(key, state, row):
        eps = jax.random.normal(key, state.x.shape, state.x.dtype)
        x = nonlinear.advance(moved, state.x, row.t, row.t_next, eps, heun=method == "heun")
        return OdeState(x), OdeInfo(row.t_next, jnp.full((), METHODS[method]))

    order = METHODS[method]
    return Solver(plan, lambda x, ts: OdeState(x), step, order, lambda n: order * n)
