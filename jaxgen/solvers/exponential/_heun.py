"""Exponential Runge-Kutta steps in the variable where the linear part is gone."""

from typing import Any, NamedTuple

from jaxgen.math import apply, total
from jaxgen.solvers._solve import guarded
from jaxgen.solvers.exponential._frame import frame
from jaxgen.solvers.exponential._multistep import MultistepInfo, hold_prediction, reading
from jaxgen.solvers.exponential._table import carry, planner
from jaxgen.types import Solver


class HeunRow(NamedTuple):
    """One two-evaluation step. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    read: Any  # the held eps at t
    read_next: Any  # the held eps at t_next
    propagate: Any  # [] or [c, c]
    weight: Any  # [] or [c, c]


class HeunState(NamedTuple):
    """The running state of Heun's method. Source: definition."""

    x: Any  # [*event] or [c, *event]


def edm_heun(process, denoiser):
    """The second-order Heun Solver of EDM, two evaluations a step, for z [*event] or [c, *event].

    It is the trapezoidal rule for dy = dV eps with y = Phi^-1 z, V = Phi^-1 R: for a scalar process
    Heun's method in sigma / alpha on x / alpha, which is rhoRK-2 of DEIS. Raises ValueError on
    stops outside the process. Deviation: the paper ends with an Euler step to sigma = 0, here the
    grid ends at t_min. Source: Karras et al. 2022, arXiv 2206.00364, algorithm 1.
    """
    denoiser = guarded(process, denoiser)

    def build(process, ts):
        parts = frame(process, ts, hold="eps", clock="t")
        last = parts._replace(root=parts.root[1:], phi=parts.phi[1:])
        first = parts._replace(root=parts.root[:-1], phi=parts.phi[:-1])
        weight = carry(parts.base[1:], parts.force[:, None])[:, 0]
        ends = reading(process, first), reading(process, last)
        return HeunRow(ts[:-1], ts[1:], *ends, parts.step, weight)

    def step(key, state, row):
        held = hold_prediction(row.read, state.x, denoiser(state.x, row.t))
        moved = apply(row.propagate, state.x)
        guess = total([moved, apply(row.weight, held)])
        at_guess = hold_prediction(row.read_next, guess, denoiser(guess, row.t_next))
        x = total([moved, apply(row.weight / 2, held), apply(row.weight / 2, at_guess)])
        return HeunState(x), MultistepInfo(row.t_next, None)

    plan = planner("edm_heun", process, build)
    return Solver(plan, lambda x, ts: HeunState(x), step, 2, lambda n: 2 * n)
