"""Time grids: each spaces the stops evenly in one quantity between t_max and t_min."""

import numpy as np

from jaxgen.math import channel_log_gain, invert, is_concrete, namespace, on_host
from jaxgen.types import DiagonalForward


def uniform(process, n, *, t_min=None, t_max=None):
    """ts [n + 1], evenly spaced in t. Raises ValueError on n < 1 or times outside the process.

    Source: definition.
    """
    return between(
        "uniform", process, n, t_min, t_max, lambda process, lo, hi, s: hi + (lo - hi) * s
    )


def power(process, n, *, rho=2.0, t_min=None, t_max=None):
    """ts [n + 1], evenly spaced in t^(1/rho); rho = 2 is the quadratic grid of the DDIM and DEIS
    papers.

    Raises ValueError on n < 1, rho <= 0 or times outside the process.
    Source: Zhang and Chen 2023, arXiv 2204.13902, appendix H.
    """
    positive("power", rho)
    return between(
        "power",
        process,
        n,
        t_min,
        t_max,
        lambda process, lo, hi, s: (
            (hi ** (1 / rho) + (lo ** (1 / rho) - hi ** (1 / rho)) * s) ** rho
        ),
    )


def log_snr(process, n, *, t_min=None, t_max=None):
    """ts [n + 1], evenly spaced in the log signal-to-noise ratio, of scalar and block processes
    alike.

    Raises ValueError on n < 1, times outside the process, or an end where the ratio is 0 or
    infinite.
    Source: Lu et al. 2022, arXiv 2206.00927, section 3.4.
    """
    return in_gain("log_snr", process, n, t_min, t_max, lambda lo, hi, s: hi + (lo - hi) * s)


def karras(process, n, *, rho=7.0, t_min=None, t_max=None):
    """ts [n + 1], evenly spaced in (sigma / alpha)^(1/rho), where for blocks sigma / alpha is
    gamma^(-1/2).

    Raises ValueError on n < 1, rho <= 0, times outside the process, or an end where sigma / alpha
    is 0 or infinite.
    Source: Karras et al. 2022, arXiv 2206.00364, equation 5.
    """
    positive("karras", rho)

    def spread(lo, hi, s):
        xp = namespace(lo, hi, s)
        low, high = xp.exp(-lo / rho), xp.exp(-hi / rho)
        return -rho * xp.log(high + (low - high) * s)

    return in_gain("karras", process, n, t_min, t_max, spread)


def in_gain(name, process, n, t_min, t_max, spread):
    """Stops [n + 1] at which log(gain) takes the values spread(log gain at t_min, log gain at
    t_max, s).

    Source: definition.
    """

    def place(process, lo, hi, s):
        def log_gain(t):
            phi, chol = process.transition(t)
            if isinstance(process, DiagonalForward):  # by the mean over the entries
                gains = channel_log_gain(phi, chol, blocks=False)
                return namespace(gains).mean(gains, tuple(range(np.ndim(t), gains.ndim)))
            return channel_log_gain(phi, chol, blocks=np.ndim(phi) > np.ndim(t))

        first, last = log_gain(lo), log_gain(hi)
        if is_concrete(first, last) and not (np.isfinite(first) and np.isfinite(last)):
            raise ValueError(
                f"grids.{name}: log-SNR must be finite at both ends; got {2 * first} at t={lo} "
                f"and {2 * last} at t={hi}"
            )
        return invert(log_gain, spread(first, last, s), lo, hi)

    return between(name, process, n, t_min, t_max, place)


def between(name, process, n, t_min, t_max, place):
    """Stops [n + 1] with place(process, t_min, t_max, s [n - 1]) between exact ends, on the host.

    Source: definition.
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(
            f"grids.{name}: the number of steps must be an integer of at least 1; got {n}"
        )
    lo = process.t_min if t_min is None else t_min
    hi = process.t_max if t_max is None else t_max
    if is_concrete(process, lo, hi) and not process.t_min <= lo < hi <= process.t_max:
        raise ValueError(
            f"grids.{name}: t_min < t_max must lie in [{process.t_min}, {process.t_max}]; "
            f"got t_min={lo}, t_max={hi}"
        )

    def build(process, lo, hi, s):
        inner = place(process, lo, hi, s[1:-1])
        xp = namespace(lo, hi, inner)
        return xp.concatenate([xp.reshape(hi, (1,)), inner, xp.reshape(lo, (1,))])

    return on_host(build, process, lo, hi, np.linspace(0, 1, n + 1))


def positive(name, rho, option="rho"):
    """Raises ValueError unless a concrete option [] is positive. Source: definition."""
    if is_concrete(rho) and not rho > 0:
        raise ValueError(f"grids.{name}: {option} must be positive; got {rho}")
