"""Sobol' indices as expectations: which inputs make a function vary.

With a and b two independent inputs, mu and V the mean and variance of f(a),

    first_i = (E f(a) f(b with a_i) - mu²) / V,    total_i = E (f(a) - f(a with b_i))² / (2 V).

Source: Sobol' 1993, Sensitivity estimates for nonlinear mathematical models; Jansen 1999, Analysis
of variance designs for model output (the total one).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Sobol(NamedTuple):
    """The part of a function's variance that each input makes. Source: definition."""

    first: Array  # [d], alone
    total: Array  # [d], alone and together with others


def pick_freeze(fn: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """(a, b) [2 d] -> [2 + 2 d], the functions whose expectations give all Sobol' indices of fn.

    Args:
        fn: x [d] -> [].

    In order: f(a), f(a)², d products for the first indices, d half squares for the total ones.
    Raises ValueError when the point has an odd number of entries.
    Source: Sobol' 1993; Jansen 1999.
    """

    def values(point):
        if point.ndim != 1 or point.shape[0] % 2:
            raise ValueError(f"importance.pick_freeze: the point must be [2 d]; got {point.shape}")
        a, b = jnp.split(point, 2)
        swap = jnp.eye(a.shape[0], dtype=bool)
        here = fn(a)
        kept = jax.vmap(lambda i: fn(jnp.where(i, a, b)))(swap)
        changed = jax.vmap(lambda i: fn(jnp.where(i, b, a)))(swap)
        half = 0.5 * (here - changed) ** 2
        return jnp.concatenate([jnp.stack([here, here**2]), here * kept, half])

    return values


def sobol(expectations: Array) -> Sobol:
    """The indices, a Sobol of [d] and [d], from the expectations [2 + 2 d] of `pick_freeze`.

    A function that does not vary has indices 0. Raises ValueError on another number of them.
    Source: Sobol' 1993; Jansen 1999.
    """
    expectations = jnp.asarray(expectations)
    count = expectations.shape[0] if expectations.ndim == 1 else 0
    if count < 4 or count % 2:
        raise ValueError(
            f"importance.sobol: expectations must be [2 + 2 d], d >= 1; got {expectations.shape}"
        )
    mean, square = expectations[0], expectations[1]
    variance = square - mean**2
    varies = variance > 4 * jnp.finfo(expectations.dtype).eps * square
    first, total = jnp.split(expectations[2:], 2)
    part = lambda x: jnp.where(varies, x / jnp.where(varies, variance, 1), 0)
    return Sobol(part(first - mean**2), part(total))
