"""Stops evenly spaced in the angle of a cosine schedule."""

from jaxgen.grids._grids import in_gain
from jaxgen.math import namespace


def cosine(process, n, *, t_min=None, t_max=None):
    """ts [n + 1], evenly spaced in the angle arctan(sigma / alpha), where for blocks sigma / alpha
    is gamma^(-1/2): the uniform grid of the variance preserving process alpha = cos(angle).

    Raises ValueError on n < 1, times outside the process, or an end where sigma / alpha is 0 or
    infinite.
    Source: Salimans and Ho 2022, arXiv 2202.00512, section 4 and appendix D (alpha = cos(pi t / 2)
    with t evenly spaced); deviation: between the process's own ends.
    """

    def spread(lo, hi, s):
        xp = namespace(lo, hi, s)
        first, last = xp.arctan(xp.exp(-lo)), xp.arctan(xp.exp(-hi))
        return -xp.log(xp.tan(last + (first - last) * s))

    return in_gain("cosine", process, n, t_min, t_max, spread)
