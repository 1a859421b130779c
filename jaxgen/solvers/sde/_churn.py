"""The stochastic sampler of EDM: noise is added before each step, and the probability flow takes
away more than was added.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.math import apply, invert, namespace, total
from jaxgen.processes import is_diagonal
from jaxgen.solvers._tables._frame import frame, log_gain
from jaxgen.solvers._tables._moments import carry, moments, scaled
from jaxgen.solvers._tables._noise import forward_kernel
from jaxgen.solvers._tables._table import TableInfo, TableRow, noise_like, reading, table
from jaxgen.solvers.sde._options import number_in, planner
from jaxgen.types import Solver

MOST = math.sqrt(2) - 1  # by which the paper lets sigma grow


class ChurnRow(NamedTuple):
    """Up to a noisier time, and down by a step of two evaluations. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    lift: Any  # [] or [c, c] Psi of the forward process from t to the noisier time
    kick: Any  # [] or [c, c] F
    stages: Any  # `TableRow`s [2]


def edm_churn(process, denoiser, *, churn=20.0, t_low=0.0, t_high=math.inf, noise_scale=1.0):
    """The stochastic Solver of EDM, z [*event] or [c, *event]: weak order 2, two evaluations a
    step.

    Before a step from t in [t_low, t_high], sigma / alpha (for blocks 1 / sqrt(gamma)) is raised by
    the share min(churn / n, sqrt(2) - 1) of n steps, by noise of the forward process times
    noise_scale: at 1 the law moves to that of the noisier time exactly. Then Heun's method follows
    the probability flow. churn = 0 is `exponential.edm_heun`, up to the quadrature on blocks.
    Raises ValueError on negative numbers; and, from plan, on rising stops or stops outside the
    process.
    Deviations: the paper ends with an Euler step to sigma = 0, here the grid ends at t_min; no
    noise is added beyond t_max. Source: Karras et al. 2022, arXiv 2206.00364, algorithm 2; for
    other processes and blocks derived.
    """
    for option, value in {"churn": churn, "noise_scale": noise_scale}.items():
        number_in("edm_churn", option, value)

    def build(process, ts, churn, t_low, t_high, noise_scale):
        share = _shares(ts, churn, t_low, t_high)
        peaks = _peaks(process, ts[:-1], share)
        lift, kick = forward_kernel(process, ts[:-1], peaks)
        raised = noise_scale * (peaks > ts[:-1])  # rounding is no noise
        kick = scaled(kick, raised)
        return ChurnRow(ts[:-1], ts[1:], lift, kick, _heun(process, peaks, ts[1:]))

    plan = planner("edm_churn", process, build, churn, t_low, t_high, noise_scale)
    entries = is_diagonal(process)
    down = table(process, denoiser, plan, width=2, hold="eps", order=2)

    def step(key, state, row):
        noise = noise_like(key, state.x)
        lifted = apply(row.lift, state.x, entries=entries)
        raised = total([lifted, apply(row.kick, noise, entries=entries)])
        state = state._replace(x=raised)
        for i in range(2):
            stage = jax.tree.map(lambda leaf, i=i: leaf[i], row.stages)
            state, _ = down.step(None, state, stage)
        return state, TableInfo(row.t_next, None)

    return Solver(plan, down.init, step, 2, lambda n: 2 * n)


def _shares(ts, churn, t_low, t_high):
    """By which share [n] sigma / alpha grows before each step of ts [n + 1]."""
    xp = namespace(ts)
    n = ts.shape[0] - 1
    inside = (t_low <= ts[:-1]) & (ts[:-1] <= t_high)
    return xp.where(inside, xp.minimum(churn / n, MOST), 0.0)


def _peaks(process, ts, share):
    """The times [n] at which sigma / alpha has grown by `share` [n] since times ts [n]."""
    xp = namespace(process, ts)
    gain = lambda t: log_gain(process, t)
    top = xp.maximum(ts, process.t_max)
    found = invert(gain, gain(ts) - xp.log1p(share), ts, top)
    return xp.where(share > 0, found, ts)


def _heun(process, starts, ends):
    """`TableRow`s [n, 2, ...] of Heun steps from starts to ends [n], in sigma / alpha.

    The stops of all steps make one grid, which rises between steps: those intervals are not used.
    """
    xp = namespace(process, starts)
    stops = xp.stack([starts, ends], 1).reshape(-1)
    parts = frame(process, stops, hold="eps", clock="rho")
    steps = 2 * np.arange(starts.shape[0])
    base = parts.base[steps + 1]
    euler = carry(base, moments(parts, steps, steps[:, None]))
    heun = carry(base, moments(parts, steps, steps[:, None] + np.array([[0, 1]])))
    weights = xp.stack(
        [
            xp.concatenate([euler, 0 * euler], 1),
            xp.stack([heun[:, 1], heun[:, 0] - euler[:, 0]], 1),
        ],
        1,
    )
    hop = parts.step[steps]
    still = xp.ones_like(hop) if hop.ndim == 1 else 0 * hop + xp.eye(hop.shape[-1])[None]
    split = lambda leaf: leaf.reshape(-1, 2, *leaf.shape[1:])
    read = jax.tree.map(split, reading(process, parts.phi, parts.root))
    return TableRow(
        split(stops), xp.stack([ends, ends], 1), read, xp.stack([hop, still], 1), weights
    )
