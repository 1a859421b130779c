"""Stops that share a given density evenly, such as that of the error a step would make."""

import numpy as np

from jaxgen.grids._grids import between
from jaxgen.math import gauss_legendre, invert, is_concrete, namespace

PANELS = 64
NODES = 12


def equidistributed(process, n, *, density, t_min=None, t_max=None):
    """ts [n + 1] between which the integral of a density over t is the same.

    Args: density, a smooth positive function t [...] -> [...] that takes NumPy to NumPy; or (stops
        [m + 1], values [m]), a piecewise constant density on recorded steps, as `error_density`
        makes it.
    Raises ValueError on n < 1, times outside the process, or a density that is not positive and
    finite, has another shape, or does not cover the times.
    Source: de Boor 1973 (equidistribution); for samplers Sabour et al. 2024, arXiv 2404.14507.
    """
    if callable(density):
        mass = lambda lo, hi, t: _mass(density, lo, hi, t)
    else:
        stops, values = _recorded(density, process, t_min, t_max)
        mass = lambda lo, hi, t: _interpolated(stops, values, t) - _interpolated(stops, values, lo)

    def place(process, lo, hi, s):
        whole = mass(lo, hi, hi)
        if is_concrete(whole) and not (np.isfinite(whole) and whole > 0):
            raise ValueError(
                "grids.equidistributed: density must be positive and finite; its integral is "
                f"{whole}"
            )
        return invert(lambda t: mass(lo, hi, t), whole * (1 - s), lo, hi, rounds=48)

    return between("equidistributed", process, n, t_min, t_max, place)


def error_density(ts, errors, *, order):
    """The density, (stops [m + 1] rising, values [m]), of the steps with which a sampler of that
    order errs least, from the local errors [m] that it made on the steps of ts [m + 1].

    A step of length h at t errs by c(t) h^(order + 1), and the sum over steps is least when all err
    alike: for a density of stops c^(1 / (order + 1)). Raises ValueError on shapes that do not fit,
    or errors that are not positive.
    Source: derived; Pereyra and Sewell 1975.
    """
    ts, errors = np.asarray(ts, np.float64), np.asarray(errors, np.float64)
    if ts.ndim != 1 or errors.shape != (ts.shape[0] - 1,) or not np.all(errors > 0):
        raise ValueError(
            "grids.error_density: ts [m + 1] must have positive errors [m] for its steps; "
            f"got {ts.shape} and {errors}"
        )
    h = np.abs(np.diff(ts))
    values = errors ** (1 / (order + 1)) / h
    return (ts, values) if ts[0] < ts[-1] else (ts[::-1], values[::-1])


def _mass(density, lo, hi, t):
    """int_lo^t density [...], in panels that shrink towards lo."""
    xp = namespace(lo, hi, t)
    nodes, weights = gauss_legendre(NODES)
    edges = (lo + (hi - lo) * (np.arange(PANELS + 1) / PANELS) ** 4)[None]
    ends = xp.minimum(edges[:, 1:], xp.reshape(t, (-1, 1)))
    widths = xp.maximum(ends - edges[:, :-1], 0.0)
    points = edges[:, :-1, None] + widths[..., None] * nodes[None, None]
    inside = xp.sum(density(points) * weights[None, None], -1)
    return xp.reshape(xp.sum(inside * widths, -1), np.shape(t))


def _interpolated(stops, values, t):
    xp = namespace(t)
    whole = np.concatenate([[0.0], np.cumsum(values * np.diff(stops))])
    return xp.interp(t, stops, whole)


def _recorded(density, process, t_min, t_max):
    stops, values = (np.asarray(part, np.float64) for part in density)
    rising = stops.ndim == 1 and len(stops) > 1 and np.all(np.diff(stops) > 0)
    if not rising or values.shape != (len(stops) - 1,) or not np.all(values > 0):
        raise ValueError(
            "grids.equidistributed: density must have rising stops [m + 1] and positive values "
            f"[m]; got {stops} and {values}"
        )
    lo = process.t_min if t_min is None else t_min
    hi = process.t_max if t_max is None else t_max
    slack = 1e-9 * (stops[-1] - stops[0])
    if is_concrete(lo, hi) and not (stops[0] - slack <= lo and hi <= stops[-1] + slack):
        raise ValueError(
            f"grids.equidistributed: density must cover [{lo}, {hi}]; got one on "
            f"[{stops[0]}, {stops[-1]}]"
        )
    return stops, values
