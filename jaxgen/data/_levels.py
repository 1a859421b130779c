"""Between whole levels 0 … levels - 1 and real numbers in [-1, 1], with the constant of bits/dim.

Level x owns the cell [x, x + 1) of [0, levels), stretched to [-1, 1]: y = 2 (x + u)/levels - 1 with
u in [0, 1). A density p of y then gives the level x, in d dimensions, the probability
(2/levels)^d E_u[p(y)], and by Jensen log P(x) >= E_u[log p(y)] + d log(2/levels). So

    bits/dim = -(log p(y)/d + log(2/levels)) / log 2,   with `log_cell_width` = log(2/levels), nats.

Sources: Theis et al. 2016, arXiv 1511.01844, section 3.1; Ho et al. 2019, arXiv 1902.00275, eq. 3.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


def _check_levels(where: str, levels) -> None:
    whole = isinstance(levels, int | np.integer) and not isinstance(levels, bool)
    if not whole or not 2 <= levels <= 256:
        raise ValueError(f"{where}: levels must be a whole number in 2..256; got {levels!r}")


def to_unit(x, levels: int, offset=0.5, *, dtype=np.float32) -> Array:
    """Real numbers 2 (x + offset)/levels - 1 in [-1, 1] from levels x [*event].

    NumPy or JAX as x is. The offset is a number, or uniform noise [*event] in [0, 1) to dequantise;
    at 1/2 each level goes to the middle of its cell.
    Raises ValueError on a number of levels outside 2..256.
    Source: Theis et al. 2016, arXiv 1511.01844, section 3.1, stretched to [-1, 1].
    """
    _check_levels("data.to_unit", levels)
    place = x.astype(dtype) + (offset.astype(dtype) if hasattr(offset, "astype") else offset)
    return place * (2 / levels) - 1


def to_levels(y, levels: int) -> Array:
    """Whole levels uint8 [*event] from y [*event]: the inverse of `to_unit`, clipped to the range.

    Exact for the middles of cells; noise within rounding of a cell's end (at 256 levels in float32:
    1 of 100,000 pixels) may fall into the neighbour. Source: definition.
    """
    _check_levels("data.to_levels", levels)
    xp = jnp if isinstance(y, jax.Array) else np
    return xp.clip(xp.floor((y + 1) * (levels / 2)), 0, levels - 1).astype(np.uint8)


def log_cell_width(levels: int) -> float:
    """The log-Jacobian per dimension [] of dequantised levels, log(2/levels) in nats.

    Added to a log-density per dimension of y it gives the (bound on the) log-probability of levels.
    Source: Theis et al. 2016, arXiv 1511.01844, section 3.1.
    """
    _check_levels("data.log_cell_width", levels)
    return math.log(2 / levels)
