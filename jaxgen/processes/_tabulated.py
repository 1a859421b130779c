"""A process whose transition is looked up, whatever it took to work out."""

from typing import Any, NamedTuple

import numpy as np
from jax.tree_util import Partial

from jaxgen.math import is_concrete, lower_inverse, namespace, on_host
from jaxgen.processes._record import num_blocks
from jaxgen.types import LinearForward


class Cells(NamedTuple):
    """Values and slopes at knots evenly spaced in log t. Source: definition."""

    first: Any  # [] log t of the first knot
    width: Any  # [] of a cell in log t
    values: Any  # [n, ...]
    slopes: Any  # [n, ...] with respect to log t, times the width


def tabulated(process, points=512):
    """The same process, scalar or of blocks [c, c], with its transition interpolated between
    `points` times, worked out once in float64.

    Cubic in log t with the exact slopes of Phi and L, so that entries of any size are right to
    about 1e-7 of themselves. Where times are traced (training, `corrupt`, readings in a sampler) a
    lookup takes the place of the factorisation that `augmented.hold`, `psld` and `linear` make at
    each time. Raises ValueError unless the numbers of the process are concrete, t_min is positive
    and points at least 2.
    Source: derived (Hermite interpolation; L' = L (K + K^T) below its diagonal, and K on it, with K
    = L^-1 F L + W W^T / 2, W = L^-1 G).
    """
    name = "processes.tabulated"
    if not isinstance(process, LinearForward) or not is_concrete(process):
        kind = type(process).__name__ if is_concrete(process) else "tracers"
        raise ValueError(f"{name}: a concrete LinearForward is needed; got {kind}")
    if not process.t_min > 0 or points < 2:
        raise ValueError(
            f"{name}: t_min must be positive and points at least 2; "
            f"got t_min={process.t_min}, points={points}"
        )
    logs = np.linspace(np.log(float(process.t_min)), np.log(float(process.t_max)), points)
    values, slopes = on_host(_knots, process, np.exp(logs))
    width = logs[1] - logs[0]
    scaled = tuple(slope * width for slope in slopes)
    return process._replace(transition=Partial(_lookup, Cells(logs[0], width, values, scaled)))


def _knots(process, ts):
    """(Phi, L) and their derivatives with respect to log t [n, ...] at times ts [n]."""
    phi, chol = process.transition(ts)
    drift, noise = (np.asarray(fn(ts)) for fn in (process.drift, process.diffusion))
    if num_blocks(process) is None:
        return (phi, chol), (ts * drift * phi, ts * (drift * chol + noise**2 / chol / 2))
    inverse = lower_inverse(chol)
    spread = inverse @ noise
    grown = inverse @ drift @ chol + spread @ np.swapaxes(spread, -1, -2) / 2
    both = np.tril(grown + np.swapaxes(grown, -1, -2), -1)
    diagonal = np.eye(grown.shape[-1]) * grown
    wide = ts[:, None, None]
    return (phi, chol), (wide * (drift @ phi), wide * (chol @ (both + diagonal)))


def _lookup(cells, t):
    xp = namespace(t)
    t = xp.asarray(t)
    place = (xp.log(t) - cells.first) / cells.width
    count = cells.values[0].shape[0]
    index = xp.clip(xp.floor(place), 0, count - 2).astype(int)
    share = (place - index).astype(t.dtype)
    return tuple(
        _hermite(xp, *(xp.asarray(part, t.dtype) for part in pair), index, share)
        for pair in zip(cells.values, cells.slopes, strict=True)
    )


def _hermite(xp, values, slopes, index, share):
    s = share.reshape(share.shape + (1,) * (values.ndim - 1))
    late = s**2 * (3 - 2 * s)
    return (
        (1 - late) * values[index]
        + late * values[index + 1]
        + s * (1 - s) ** 2 * slopes[index]
        - s**2 * (1 - s) * slopes[index + 1]
    )
