"""Which of known modes a sample reaches.

Source: Srivastava et al. 2017, arXiv:1705.07761 (VEEGAN), section 5.1: modes captured, and samples
within three standard deviations of one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics._clouds import flat

Array = jax.Array


class Modes(NamedTuple):
    """What a sample holds of the modes."""

    covered: Array  # [], how many modes have enough points, in the dtype of the points
    counts: Array  # [k], points within the radius of each centre, the nearest only
    quality: Array  # [], the share of points within the radius of a centre


def mode_coverage(
    xs: Array, centres: Array, radius: float, *, least: int = 1, chunk: int = 256
) -> Modes:
    """How many known modes a sample reaches: Modes(covered [], counts [k], quality []).

    A point belongs to its nearest centre (the first, on ties) if that is within the radius.

    Args:
        xs: [n, *event].
        centres: [k, *event].
        radius: positive, in units of x; three standard deviations of a mode are usual.
        least: points that make a mode covered, at least 1.
        chunk: points treated at a time.

    Raises ValueError on unequal event shapes, a radius that is not positive or least < 1.
    Source: Srivastava et al. 2017, arXiv:1705.07761, section 5.1.
    """
    where = "mode_coverage"
    xs, centres = flat(where, xs, centres)
    if not isinstance(radius, jax.core.Tracer) and not radius > 0:
        raise ValueError(f"{where}: radius must be positive; got {radius}")
    if not isinstance(least, jax.core.Tracer) and not least >= 1:
        raise ValueError(f"{where}: least must be at least 1; got {least}")

    def one(x):
        square = jnp.sum((x[None] - centres) ** 2, axis=1)
        index = jnp.argmin(square)
        return index, square[index]

    whole = xs.shape[0] <= chunk
    index, square = jax.vmap(one)(xs) if whole else jax.lax.map(one, xs, batch_size=chunk)
    inside = (jnp.sqrt(square) <= radius).astype(xs.dtype)
    counts = jax.ops.segment_sum(inside, index, centres.shape[0])
    covered = jnp.sum((counts >= least).astype(xs.dtype))
    return Modes(covered, counts, jnp.mean(inside))
