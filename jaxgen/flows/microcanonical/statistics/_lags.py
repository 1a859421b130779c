"""Statistics of pairs of values at given distances in time."""

import jax.numpy as jnp

from jaxgen.flows.microcanonical.statistics._moments import _series


def autocovariances(lags, *, periodic=False):
    """statistics(x [d]) -> [k]: means of x_t x_(t + l) over the pairs there are, by FFT.

    AR(1), x_t = a x_(t-1) + s eps: s^2 a^l / (1 - a^2), without bias; white noise: s^2 at lag 0,
    else 0. Periodic, t + l is taken modulo d, and the statistics are linear in the periodogram:
    from white noise the mean-field descent then ends, as n grows, in a Gaussian process.

    Args: lags, integers from 0 to d - 1. Raises ValueError on negative lags, none, or d <= one.
    Source: definition; Wiener-Khinchin.
    """
    lags = _lags("statistics.autocovariances", lags, 0)

    def values(x):
        _series("statistics.autocovariances", x, max(lags) + 1)
        d = len(x)
        size = d if periodic else d + max(lags)  # zeros keep the end apart from the start
        spectrum = jnp.fft.rfft(x, size)
        power = spectrum.real**2 + spectrum.imag**2
        sums = jnp.fft.irfft(power, size)[jnp.asarray(lags)]
        pairs = d - (0 if periodic else 1) * jnp.asarray(lags)
        return sums / pairs.astype(x.dtype)

    return values


def leverage(lags):
    """statistics(x [d]) -> [k]: means of x_t x_(t + l)^2, over (mean x^2)^(3/2).

    How today's return moves the volatility l days later: negative for stock indices. White noise:
    0. x_t = e_t (1 - a e_(t-1)), e standard normal: -2 a / (1 + a^2)^(3/2) at lag 1, else 0. A
    series of zeros gives 0, with gradient zero.

    Args: lags, positive integers below d. Raises ValueError on others.
    Source: Bouchaud, Matacz and Potters 2001, arXiv cond-mat/0101120, equation 1, whose
    denominator is (mean x^2)^2; the power 3/2 here makes it free of units.
    """
    lags = _lags("statistics.leverage", lags, 1)

    def values(x):
        _series("statistics.leverage", x, max(lags) + 1)
        power = jnp.mean(x**2)
        safe = jnp.where(power > 0, power, 1)
        return jnp.stack([jnp.mean(x[:-l] * x[l:] ** 2) for l in lags]) / safe**1.5

    return values


def structure(lags, *, power=2):
    """statistics(x [d]) -> [k]: means of |x_(t + l) - x_t|^power.

    White noise of variance s^2: (2 s^2)^(p/2) E|N|^p; a Gaussian walk of unit steps: l^(p/2)
    E|N|^p.

    Args: lags, positive integers below d; power, an even integer, so that it is smooth. Raises
    ValueError on others.
    Source: Kolmogorov 1941; definition.
    """
    lags = _lags("statistics.structure", lags, 1)
    if power not in (2, 4, 6, 8):
        raise ValueError(f"statistics.structure: power must be 2, 4, 6 or 8; got {power}")

    def values(x):
        _series("statistics.structure", x, max(lags) + 1)
        return jnp.stack([jnp.mean((x[l:] - x[:-l]) ** power) for l in lags])

    return values


def _lags(where, lags, least):
    lags = tuple(int(l) for l in lags)
    if not lags or min(lags) < least:
        raise ValueError(f"{where}: lags must be integers of at least {least}; got {lags}")
    return lags
