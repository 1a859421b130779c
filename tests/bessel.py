"""The reference of the Bessel functions, and what is left of a number once it is a float."""

from experiments.metrics._mpmath import DPS, log_i, log_k

__all__ = ["DPS", "log_i", "log_k", "split"]


def split(value):
    """An mpmath number as (float, what the float leaves)."""
    return float(value), float(value - float(value))
