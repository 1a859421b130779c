"""What steps between recorded stops would cost, for `grids.dynamic_programming`."""

import numpy as np

from jaxgen.math import on_host
from jaxgen.processes import num_blocks, refuse_diagonal


def step_costs(process, ts, states, predictions):
    """The costs [m, m] of DDIM steps from each of the stops ts [m] to each later one, along
    recorded runs of a scalar process.

    Entry (i, j > i) is the mean distance from the recorded state at j of one step from the recorded
    state at i, in units of sqrt(alpha^2 + sigma^2) at j: the size of an error as a flow of data of
    unit variance carries it to the end. Others are infinite.
    Args: states [m, b, *event] of b runs of a fine solver, predictions [m, b, *event] x0hat made
    there. Raises ValueError on a block process, or shapes that do not fit.
    Source: derived; the use of such a matrix is that of Watson et al. 2021, arXiv 2106.03802, whose
    costs are terms of a likelihood bound.
    """
    where = "solvers.search.step_costs"
    refuse_diagonal(where, process)
    if num_blocks(process) is not None:
        raise ValueError(f"{where}: the process must be scalar; got {num_blocks(process)} blocks")
    ts, states, predictions = (np.asarray(leaf) for leaf in (ts, states, predictions))
    m = ts.shape[0] if ts.ndim == 1 else -1
    if states.shape != predictions.shape or states.ndim < 3 or states.shape[0] != m:
        raise ValueError(
            f"{where}: ts [m] must have states and predictions [m, b, *event]; got shapes "
            f"{ts.shape}, {states.shape}, {predictions.shape}"
        )
    alpha, sigma = on_host(lambda process, ts: process.transition(ts), process, ts)
    flat = lambda leaf: leaf.reshape(m, leaf.shape[1], -1)
    states, predictions = flat(states), flat(predictions)
    scale = np.sqrt(alpha**2 + sigma**2)
    costs = np.full((m, m), np.inf)
    for i in range(m - 1):
        hop = (sigma[i + 1 :] / sigma[i])[:, None, None]
        push = alpha[i + 1 :, None, None] - alpha[i] * hop
        apart = hop * states[i] + push * predictions[i] - states[i + 1 :]
        costs[i, i + 1 :] = np.linalg.norm(apart, axis=-1).mean(1) / scale[i + 1 :]
    return costs
