"""The exponential integrator that freezes the score: the step of reverse diffusion Monte Carlo.

Over a step from t to s < t the reverse SDE with the score held is linear, so that

    z_s = psi z_t + (int_s^t psi(s, u) G(u)^2 du) score + sqrt(int_s^t psi(s, u)^2 G(u)^2 du) xi

with psi(s, u) = alpha_s / alpha_u. For dx = -x dt + sqrt(2) dB and delta = t - s this is e^delta z
+ 2 (e^delta - 1) score + sqrt(e^(2 delta) - 1) xi: the factor 2 is G^2. Source: derived; Huang et
al. 2024, arXiv 2307.02037, algorithm 1.
"""

import numpy as np

from jaxgen.math import gauss_legendre, namespace
from jaxgen.processes import is_diagonal, num_blocks
from jaxgen.solvers._tables._table import TableRow, table
from jaxgen.solvers.sde._options import planner, with_path

NODES = 16


def frozen_score(process, denoiser):
    """The Solver that holds the score constant over a step of the reverse SDE, z [*event]; weak
    order 1, one evaluation a step, path weights in each info.

    Unlike `exponential_sde` (which holds x0hat or eps) its noise is that of the linear part alone:
    e^(2 delta) - 1 for the Ornstein-Uhlenbeck process. Raises ValueError on a process with blocks
    or diagonal in a basis, and (from plan) on rising stops, or stops outside the process.
    Source: Huang et al. 2024, arXiv 2307.02037, algorithm 1; for other schedules derived.
    """
    if is_diagonal(process) or num_blocks(process) is not None:
        raise ValueError("solvers.sde.frozen_score: the process must be scalar; got another kind")
    plan = planner("frozen_score", process, _rows)
    return table(process, denoiser, plan, width=1, hold="x0", order=1)


def _rows(process, ts):
    xp = namespace(process, ts)
    t, s = ts[:-1], ts[1:]
    alpha, sigma = process.transition(ts)
    psi = alpha[1:] / alpha[:-1]
    nodes, weights = gauss_legendre(NODES)
    u = s[:, None] + (t - s)[:, None] * nodes[None]
    along = alpha[1:, None] / process.transition(u)[0] * process.diffusion(u) ** 2
    push = (t - s) * xp.sum(along * weights[None], 1)
    spread = xp.sqrt((psi * sigma[:-1]) ** 2 - sigma[1:] ** 2)
    pull = push / sigma[:-1] ** 2
    weight = (pull * alpha[:-1])[:, None]
    row = TableRow(t, s, None, psi - pull, weight, spread)
    return with_path(process, ts, row, np.float64(1.0))
