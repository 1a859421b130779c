"""What the likelihoods share: checks of their stops and counts."""

import jax.numpy as jnp

from jaxgen.math import is_concrete


def check_grid(name, process, ts):
    """Raises ValueError unless ts [n + 1] falls from noise to data inside the process.

    Source: definition.
    """
    if jnp.ndim(ts) != 1 or len(ts) < 2:
        raise ValueError(f"{name}: ts must have shape [n + 1], n >= 1; got shape {jnp.shape(ts)}")
    if is_concrete(ts) and not ts[0] > ts[-1]:
        raise ValueError(f"{name}: ts must fall from noise to data; got {ts[0]} to {ts[-1]}")
    if is_concrete(process, ts):
        slack = 1e-6 * (process.t_max - process.t_min)
        if ts[-1] < process.t_min - slack or ts[0] > process.t_max + slack:
            raise ValueError(
                f"{name}: ts must lie in [{process.t_min}, {process.t_max}]; "
                f"got {ts[0]} to {ts[-1]}"
            )


def check_count(name, label, number):
    """Raises ValueError unless a number of things is None or at least 1. Source: definition."""
    if number is not None and number < 1:
        raise ValueError(f"{name}: {label} must be None or at least 1; got {number}")


def spread(values, draws):
    """The standard error [] of the mean of values [draws], NaN for one. Source: definition."""
    if draws == 1:
        return jnp.full_like(values[0], jnp.nan)
    return jnp.std(values, ddof=1) / draws**0.5
