"""The cheapest n steps along candidate stops, given what each step costs."""

import numpy as np

from jaxgen.grids._grids import between, uniform


def dynamic_programming(process, n, *, cost, grid=uniform, t_min=None, t_max=None):
    """ts [n + 1] of the least-cost path of exactly n steps from t_max to t_min along candidates.

    Args: cost [m, m], whose entry (i, j > i) is the cost of a step from candidate i to candidate j;
        grid, the door that places the m candidates, grid(process, m - 1, t_min=, t_max=), candidate
        0 the noisiest. The cost is a sum over steps, for example of squared local errors recorded
        along one fine trajectory; entries that are not above the diagonal are not read.
    Raises ValueError on n < 1, n > m - 1, a cost of another shape or with NaN, no finite path, or
    what `grid` raises.
    Source: Watson et al. 2021, arXiv 2106.03802, algorithm 1.
    """
    cost = np.asarray(cost, np.float64)
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or cost.shape[0] < 2:
        raise ValueError(
            "grids.dynamic_programming: cost must have shape [m, m], m >= 2; got "
            f"shape {cost.shape}"
        )

    def place(process, lo, hi, s):
        chosen = least_cost_path(cost, len(s) + 1)
        return grid(process, len(cost) - 1, t_min=lo, t_max=hi)[chosen[1:-1]]

    return between("dynamic_programming", process, n, t_min, t_max, place)


def least_cost_path(cost, n):
    """The rising indices [n + 1], from 0 to m - 1, of the path of n steps with the least sum of
    cost [m, m].

    Raises ValueError as `dynamic_programming`. Source: Bellman 1957; Watson et al. 2021, arXiv
    2106.03802, algorithm 1.
    """
    m = len(cost)
    if n > m - 1:
        raise ValueError(
            f"grids.dynamic_programming: n must be at most m - 1 = {m - 1} for {m} candidates; "
            f"got {n}"
        )
    ahead = np.triu(np.ones((m, m), bool), 1)
    steps = np.where(ahead, cost, np.inf)
    if np.isnan(steps).any():
        raise ValueError("grids.dynamic_programming: cost must be a number; got NaN")
    # best[j]: the least cost from candidate j to the end with the steps taken so far.
    best, chosen = steps[:, -1], [np.full(m, m - 1)]
    for _ in range(n - 1):
        through = steps + best[None]
        chosen.insert(0, through.argmin(1))
        best = through.min(1)
    if not np.isfinite(best[0]):
        raise ValueError(f"grids.dynamic_programming: {n} steps must have a finite cost; got none")
    path = [0]
    for choice in chosen:
        path.append(int(choice[path[-1]]))
    return np.array(path)
