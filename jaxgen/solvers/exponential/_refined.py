"""The refined exponential solver: two stages whose weights satisfy the stiff order conditions."""

import numpy as np

from jaxgen.math import namespace
from jaxgen.solvers._tables._frame import frame, log_gain
from jaxgen.solvers._tables._moments import moments
from jaxgen.solvers._tables._options import HOLDS, choose, planner
from jaxgen.solvers._tables._table import table
from jaxgen.solvers.exponential._runge_kutta import stage_times, staged


def refined(process, denoiser, *, hold="x0"):
    """The single-step refined exponential Solver (RES) of order 2, two evaluations a step, the
    second at its middle in log-SNR; z is [*event] or [c, *event].

    The end of a step lies on the line through both predictions (b_1 = phi_1 - 2 phi_2, b_2 = 2
    phi_2), where DPM-Solver-2 forgets the first. Raises ValueError on an unknown hold, or stops
    outside the process. Source: Zhang et al. 2023, arXiv 2308.02157, section 3; for blocks derived.
    """
    choose("refined", "hold", hold, HOLDS)

    def build(process, ts):
        xp = namespace(process, ts)
        times = stage_times(process, ts, log_gain(process, ts), np.array([0, 0.5]), "log_snr")
        stops = xp.concatenate([times.reshape(-1), ts[-1:]])
        parts = frame(process, stops, hold=hold, clock="log_snr")
        starts = np.arange(0, stops.shape[0] - 1, 2)
        nodes = np.stack([starts + 1, starts], 1)
        middle = xp.stack([parts.force[::2], 0 * parts.force[::2]], 1)
        end = moments(parts, starts, nodes) + moments(parts, starts + 1, nodes)
        return staged(process, ts, times, parts, xp.stack([middle, end], 1), hold)

    return table(
        process, denoiser, planner("refined", process, build), width=2, hold=hold, order=2,
        evaluations=lambda n: 2 * n,
    )  # fmt: skip
