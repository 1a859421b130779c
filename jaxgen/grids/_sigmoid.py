"""Stops at which the share of signal falls along a sigmoid."""

import numpy as np

from jaxgen.grids._grids import in_gain, positive
from jaxgen.math import is_concrete, namespace


def sigmoid(process, n, *, start=-3.0, end=3.0, tau=1.0, t_min=None, t_max=None):
    """ts [n + 1] at which the share of signal alpha^2 / (alpha^2 + sigma^2), for blocks gamma /
    (gamma + 1), is a piece of a sigmoid of the stop's number: from `start` at the clean end to
    `end` at the noisy one, at temperature tau, scaled to the process's own ends.

    Stops gather where the share is near its extremes, the more the longer the piece; a short one
    spaces the share evenly. Raises ValueError on n < 1, start >= end, tau <= 0, times outside the
    process, or an end where the share is 0 or 1.
    Source: Jabri et al. 2022, arXiv 2212.11972, appendix B; Chen 2023, arXiv 2301.10972, section
    2.3.
    """
    positive("sigmoid", tau, "tau")
    if is_concrete(start, end) and not start < end:
        raise ValueError(f"grids.sigmoid: start must be below end; got {start} and {end}")

    def spread(lo, hi, s):
        xp = namespace(lo, hi, s)
        share = lambda x: 1 / (1 + xp.exp(-x))
        level = lambda x: share(-(x + 0 * s) / tau)
        clean, noisy = level(np.float64(start)), level(np.float64(end))
        left = (level(end + (start - end) * s) - noisy) / (clean - noisy)
        # Both the share and what it lacks of 1, so that neither loses its digits near the ends.
        signal = share(2 * hi) + (share(2 * lo) - share(2 * hi)) * left
        noise = share(-2 * lo) + (share(-2 * hi) - share(-2 * lo)) * (1 - left)
        return (xp.log(signal) - xp.log(noise)) / 2

    return in_gain("sigmoid", process, n, t_min, t_max, spread)
