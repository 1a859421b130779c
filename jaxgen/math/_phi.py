"""The functions on which exponential integrators live: (exp(h) - 1) / h and its family.

phi_0 = exp, phi_{k+1}(h) = (phi_k(h) - 1/k!) / h. The recursion loses digits near 0, where a Taylor
polynomial takes over; both branches are evaluated on safe arguments, so derivatives are finite too.
"""

import math

from jaxgen.math._host import namespace

_TERMS = 18  # 1 / 18! is below float64's eps for |h| <= 1


def phi(k, h):
    """phi_k(h) [...] = int_0^1 exp((1 - u) h) u^(k-1) / (k-1)! du, accurate and differentiable
    through h = 0.

    Args: k, a Python integer >= 0; h [...]. Raises ValueError on a negative k.
    Source: Hochbruck and Ostermann 2010, Acta Numerica 19, equations 2.10-2.11.
    """
    if k < 0:
        raise ValueError(f"math.phi: k must be at least 0; got {k}")
    xp = namespace(h)
    if k == 0:
        return xp.exp(h)
    small = xp.abs(h) < 1
    near, far = xp.where(small, h, 0.0), xp.where(small, 1.0, h)
    series = 0.0 * near
    for j in reversed(range(_TERMS)):
        series = series * near + 1 / math.factorial(j + k)
    recursion = xp.expm1(far) / far
    for j in range(1, k):
        recursion = (recursion - 1 / math.factorial(j)) / far
    return xp.where(small, series, recursion)
