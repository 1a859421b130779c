"""Moments of the values of a series, whatever their order in time."""

import jax.numpy as jnp


def concatenate(*statistics, scales=None):
    """statistics(x [d]) -> [sum of k]: several, one after the other.

    Args: scales, one positive number for each, which multiplies it: the descent weighs errors by
    their squares. Raises ValueError on none, or another number of scales.
    Source: definition.
    """
    if not statistics or (scales is not None and len(scales) != len(statistics)):
        raise ValueError(
            "statistics.concatenate: at least one, and as many scales as statistics; got "
            f"{len(statistics)} and {None if scales is None else len(scales)}"
        )
    scales = (1.0,) * len(statistics) if scales is None else scales

    def values(x):
        parts = [scale * fn(x) for scale, fn in zip(scales, statistics, strict=True)]
        return jnp.concatenate(parts)

    return values


def moments(powers=(2,)):
    """statistics(x [d]) -> [k]: means over time of x^p; the default is the power of the series.

    White noise of variance s^2: s^p (p - 1)!! for even p, zero for odd. Args: powers, positive
    integers. Raises ValueError on others.
    Source: definition.
    """
    powers = tuple(powers)
    if not powers or any(int(p) != p or p < 1 for p in powers):
        raise ValueError(f"statistics.moments: powers must be positive integers; got {powers}")

    def values(x):
        _series("statistics.moments", x, 1)
        return jnp.stack([jnp.mean(x ** int(p)) for p in powers])

    return values


def kurtosis():
    """statistics(x [d]) -> [1]: mean x^4 over the square of mean x^2; 3 for Gaussian noise.

    A series of zeros gives 0, with gradient zero. Source: definition.
    """

    def values(x):
        _series("statistics.kurtosis", x, 1)
        power = jnp.mean(x**2)
        safe = jnp.where(power > 0, power, 1)
        return (jnp.mean(x**4) / safe**2)[None]

    return values


def _series(where, x, least):
    if jnp.ndim(x) != 1 or len(x) < least:
        raise ValueError(f"{where}: x must be [d], d >= {least}; got {jnp.shape(x)}")
