"""Stochastic exponential Runge-Kutta methods: the noise of a step is the increments of one Brownian
path between its stages.
"""

import numpy as np

from jaxgen.math import namespace
from jaxgen.solvers._tables._frame import frame, log_gain
from jaxgen.solvers._tables._moments import carry, moments, scaled
from jaxgen.solvers._tables._options import CLOCKS, HOLDS
from jaxgen.solvers._tables._table import TableRow, reading, table
from jaxgen.solvers.exponential._runge_kutta import stage_times
from jaxgen.solvers.sde._options import (
    check_level,
    choose,
    levels,
    planner,
)

# For each stage: the share of the step where it arrives, and the evaluations (0 at the start of the
# step, i where stage i arrives) that its polynomial runs through. The last stage is the step.
SEEDS = {
    1: ((1, (0,)),),
    2: ((1 / 2, (0,)), (1, (1,))),
    3: ((1 / 3, (0,)), (2 / 3, (0, 1)), (1, (0, 2))),
}
HEUN = ((1, (0,)), (1, (0, 1)))


def seeds(process, denoiser, *, order=3):
    """The SEEDS-1, -2 or -3 Solver of the reverse SDE, z [*event] or [c, *event]: `order`
    evaluations a step, noise prediction, stages in log-SNR; weak order min(order, 2), and `order`
    for the mean.

    The noise of each stage continues that of the one before. A noise prediction that is held over
    long steps amplifies noise: prefer `stochastic_heun` at few steps. Raises ValueError unless
    order is 1, 2 or 3; and, from plan, on rising stops or stops outside the process.
    Source: Gonzalez et al. 2023, arXiv 2305.14267, algorithms 1-3; for blocks derived.
    """
    choose("seeds", "order", order, tuple(SEEDS))
    return _stages("seeds", process, denoiser, SEEDS[order], "eps", "log_snr", 1.0)


def stochastic_heun(process, denoiser, *, tau=1.0, hold="x0", clock="log_snr"):
    """The exponential stochastic Heun Solver of noise level tau, z [*event] or [c, *event]: weak
    order 2, two evaluations a step.

    The prediction is linear in the clock ("t", "log_snr" or "rho") between its value at the start
    and that at the end of an Euler step with the same noise. Args: tau, 0 for the probability flow,
    1 for the reverse SDE, any number from 0, or a function of t [], read at the start of each step;
    hold, "x0" or "eps". Raises ValueError on options outside these; and, from plan, on rising stops
    or stops outside the process.
    Source: derived; with no linear part it is the stochastic Heun method for additive noise,
    Platen 1987 (Kloeden and Platen 1992, section 15.1).
    """
    name = "stochastic_heun"
    choose(name, "hold", hold, HOLDS)
    choose(name, "clock", clock, CLOCKS)
    check_level(name, tau)
    return _stages(name, process, denoiser, HEUN, hold, clock, tau)


def _stages(name, process, denoiser, tableau, hold, clock, tau):
    s = len(tableau)
    starts = np.array([0.0, *(share for share, _ in tableau[:-1])])
    hops = np.diff([*starts, 1.0])

    def build(process, ts, tau):
        xp = namespace(process, ts)
        n = ts.shape[0] - 1
        lam = log_gain(process, ts)
        times = stage_times(process, ts, lam, starts, "log_snr")
        stops = xp.concatenate([times.reshape(-1), ts[-1:]])
        level = levels(tau, ts)
        level = level if np.ndim(level) == 0 else xp.repeat(level, s)
        parts = frame(process, stops, hold=hold, clock=clock, tau=level)
        weights = xp.stack(_weights(parts, tableau, n, s), 1)
        noise = parts.noise
        if noise is not None:
            moved = xp.asarray(np.tile(hops > 0, n), noise.dtype)  # rounding is no noise
            noise = scaled(noise, moved)
        read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
        weights = weights.reshape(n * s, *weights.shape[2:])
        return TableRow(stops[:-1], stops[1:], read, parts.step, weights, noise)

    return table(
        process,
        denoiser,
        planner(name, process, build, tau),
        width=s,
        hold=hold,
        order=min(s, 2),
        evaluations=lambda n: s * n,
    )


def _weights(parts, tableau, n, s):
    """For each stage the weights [n, s, ...] that its row adds, the latest evaluation first.

    A stage adds its own integral over the whole way from the start of the step, and takes back what
    the stage before added, carried along.
    """
    xp = namespace(parts.step)
    first = np.arange(n) * s
    weights, behind = [], None
    for i, (_, nodes) in enumerate(tableau):
        added = 0.0
        for j in range(i + 1):
            piece = moments(parts, first + j, first[:, None] + np.array([nodes]))
            piece = carry(parts.base[first + j + 1], piece)
            added = piece if j == 0 else carry(parts.step[first + j], added) + piece
        added = _placed(added, nodes, i, s)
        hop = parts.step[first + i]
        weights.append(added if behind is None else added - carry(hop, behind))
        aged = xp.concatenate([0 * added[:, :1], added[:, :-1]], 1)
        behind = aged
    return weights


def _placed(columns, nodes, latest, width):
    """Columns [n, k, ...] of evaluations `nodes`, in places latest - node of [n, width, ...]."""
    xp = namespace(columns)
    empty = 0 * columns[:, 0]
    found = {latest - node: columns[:, k] for k, node in enumerate(nodes)}
    return xp.stack([found.get(place, empty) for place in range(width)], 1)
