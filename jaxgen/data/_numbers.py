"""Checks of a law's numbers when it is built; a traced number passes unchecked."""

import jax
import jax.numpy as jnp
import numpy as np


def check_number(where: str, name: str, number, *, above: float | None = None) -> None:
    """Raise ValueError unless the number is a finite scalar [], at least 0 or above a bound."""
    if isinstance(number, jax.core.Tracer):
        return
    value = np.asarray(number)
    sound = value.ndim == 0 and np.issubdtype(value.dtype, np.number) and np.isfinite(value)
    if not sound or not (value >= 0 if above is None else value > above):
        bound = "at least 0" if above is None else f"above {above:g}"
        raise ValueError(f"{where}: {name} must be one finite number {bound}; got {number!r}")


def check_whole(where: str, name: str, number, *, least: int, even: bool = False) -> None:
    """Raise ValueError unless the number is a whole number that is large enough."""
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not whole or number < least or (even and number % 2):
        kind = "an even whole number" if even else "a whole number"
        raise ValueError(f"{where}: {name} must be {kind} of at least {least}; got {number!r}")


def normalised(where: str, weights, k: int):
    """Weights [k] that sum to 1; equal ones for None. ValueError on a wrong shape or sign."""
    if weights is None:
        return np.full(k, 1 / k)
    if np.shape(weights) != (k,):
        raise ValueError(f"{where}: weights must have shape ({k},); got {np.shape(weights)}")
    if isinstance(weights, jax.core.Tracer):
        return weights / jnp.sum(weights)
    value = np.asarray(weights, np.float64)
    if not np.all(np.isfinite(value)) or np.any(value < 0) or value.sum() <= 0:
        raise ValueError(
            f"{where}: weights must be finite, non-negative and not all 0; got {weights!r}"
        )
    return value / value.sum()
