"""How well a score tells outliers from inliers; large scores mean outlying.

Sources: Hanley and McNeil 1982, The meaning and use of the area under a receiver operating
characteristic curve; DeLong, DeLong and Clarke-Pearson 1988 (the standard error); Liang et al.
2018, arXiv:1706.02690 (the false-positive rate at 95 %).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._clouds import flat
from jaxgen.metrics._mmd import Estimate

Array = jax.Array


def _scores(where, inside, outside, least):
    inside, outside = flat(where, inside, outside, least=least)
    if inside.shape[1] != 1:
        raise ValueError(f"{where}: scores must be [n] and [m]; got {inside.shape[1]} a point")
    return inside[:, 0], outside[:, 0]


def auroc(inside: Array, outside: Array) -> Estimate:
    """The chance that an outlier scores above an inlier, ties by half: an Estimate of two [].

    It is the area under the receiver operating characteristic; unbiased. A step function of the
    scores: its gradient is 0.

    Args:
        inside: scores of inliers, [n], n >= 2.
        outside: scores of outliers, [m], m >= 2.

    Raises ValueError on wrong shapes or non-finite scores.
    Source: Hanley and McNeil 1982; standard error of DeLong et al. 1988.
    """
    inside, outside = _scores("auroc", inside, outside, 2)

    def below(points, others):  # the share of `others` below each point, ties by half
        others = jnp.sort(others)
        left = jnp.searchsorted(others, points, side="left")
        right = jnp.searchsorted(others, points, side="right")
        return (left + right).astype(points.dtype) / (2 * others.size)

    over, under = below(outside, inside), 1 - below(inside, outside)
    variance = jnp.var(over, ddof=1) / over.size + jnp.var(under, ddof=1) / under.size
    return Estimate(jnp.mean(over), jnp.sqrt(variance))


def false_positive_rate(inside: Array, outside: Array, *, accepted: float = 0.95) -> Array:
    """The share of outliers taken for inliers, [], where a share `accepted` of inliers is accepted.

    The threshold is the smallest inlier's score that accepts so many; what equals it is accepted.
    In the literature on outliers this is "FPR at 95 % TPR", the inliers being the positives.

    Args:
        inside: scores of inliers, [n].
        outside: scores of outliers, [m].
        accepted: in (0, 1].

    Raises ValueError on wrong shapes, non-finite scores or `accepted` outside (0, 1].
    Source: Liang et al. 2018, arXiv:1706.02690.
    """
    inside, outside = _scores("false_positive_rate", inside, outside, 1)
    if not 0 < accepted <= 1:
        raise ValueError(f"false_positive_rate: accepted must be in (0, 1]; got {accepted}")
    n = inside.size
    place = min(n - 1, max(0, -int(-accepted * n // 1) - 1))  # ceil(accepted n) - 1
    return jnp.mean((outside <= jnp.sort(inside)[place]).astype(inside.dtype))
