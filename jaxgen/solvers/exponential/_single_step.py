"""Single-step DPM-Solver and DPM-Solver++: stages at fixed shares of a step in log-SNR.

A stage, and the end of a step, is an exponential Adams step from the start of the step onto the
evaluations made since.
"""

import numpy as np

from jaxgen.math import namespace
from jaxgen.solvers._tables._frame import frame, log_gain
from jaxgen.solvers._tables._moments import moments
from jaxgen.solvers._tables._options import HOLDS, choose, planner, whole_order
from jaxgen.solvers._tables._table import table
from jaxgen.solvers.exponential._multistep import adams_bashforth
from jaxgen.solvers.exponential._runge_kutta import stage_times, staged

NODES = 8  # quadrature points between stages
SHARES = {2: (0, 1 / 2), 3: (0, 1 / 3, 2 / 3)}


def dpm_solver(process, denoiser, *, order=3, hold="eps"):
    """The single-step DPM-Solver of an order from 1 to 3, as many evaluations a step; with
    hold="x0" it is DPM-Solver++ (2S, 3S); z is [*event] or [c, *event].

    Order 1 is DDIM, order 2 evaluates at the middle of the step in log-SNR, order 3 at 1/3 and 2/3
    of it. Raises ValueError on options outside these, or stops outside the process.
    Source: Lu et al. 2022, arXiv 2206.00927, algorithms 1 and 2 (r_1 = 1/2; r_1, r_2 = 1/3, 2/3),
    and arXiv 2211.01095, algorithm 1 and appendix A; for blocks derived.
    """
    name = "dpm_solver"
    whole_order(name, order, 1, 3)
    choose(name, "hold", hold, HOLDS)
    if order == 1:
        return adams_bashforth(process, denoiser, order=1, hold=hold, clock="t")

    def build(process, ts):
        xp = namespace(process, ts)
        gain = log_gain(process, ts)
        times = stage_times(process, ts, gain, np.array(SHARES[order]), "log_snr")
        stops = xp.concatenate([times.reshape(-1), ts[-1:]])
        clock = "t" if order == 2 else "log_snr"
        parts = frame(process, stops, hold=hold, clock=clock, nodes=NODES)
        rows = _second(parts) if order == 2 else _third(parts)
        return staged(process, ts, times, parts, xp.stack(rows, 1), hold)

    plan = planner(name, process, build)
    return table(
        process,
        denoiser,
        plan,
        width=order,
        hold=hold,
        order=order,
        evaluations=lambda n: order * n,
    )


def _second(parts):
    """Moments [n, 2, ...] of the middle and of the end, held_1 before held_0: with r_1 = 1/2 the
    step V (h_0 + (h_1 - h_0) / (2 r_1)) forgets h_0.
    """
    xp = namespace(parts.force)
    first, second = parts.force[::2], parts.force[1::2]
    none = 0 * first
    return [xp.stack([first, none], 1), xp.stack([first + second, none], 1)]


def _third(parts):
    """Moments [n, 3, ...] of z_1, z_2 and z_3: h_0; the line through h_0, h_1; through h_0, h_2."""
    xp = namespace(parts.force)
    starts = np.arange(0, parts.force.shape[0], 3)
    first = parts.force[::3]
    none = 0 * first
    nodes = np.stack([starts + 1, starts], 1)
    second = sum(moments(parts, starts + i, nodes) for i in range(2))
    nodes = np.stack([starts + 2, starts], 1)
    third = sum(moments(parts, starts + i, nodes) for i in range(3))
    return [
        xp.stack([first, none, none], 1),
        xp.stack([second[:, 0], second[:, 1], none], 1),
        xp.stack([third[:, 0], none, third[:, 1]], 1),
    ]
