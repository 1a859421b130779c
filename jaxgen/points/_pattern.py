"""Patterns of points in a box, in arrays of one shape.

Source: definition; Moller and Waagepetersen 2004 (Statistical inference and simulation for spatial
point processes), chapter 2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


class Pattern(NamedTuple):
    """Some points, in no order: rows of an array that are there or not. Source: definition."""

    points: Any  # [capacity, d]; a row that is not there is ignored
    mask: Any  # [capacity], whether a row is a point of the pattern


class Window(NamedTuple):
    """A box from low to high; a pytree. Source: definition."""

    low: Any  # [d]
    high: Any  # [d]


class Gibbs(NamedTuple):
    """A point process known up to its normaliser. Source: definition; Papangelou 1974."""

    logdensity: Callable  # Pattern -> [], nats, unnormalised, of Lebesgue measure over n!
    log_intensity: Callable  # (x [d], Pattern) -> [], log p(pattern and x) - log p(pattern)


def box(low, high):
    """A `Window` from low [d] to high [d].

    Raises ValueError unless both are finite, of one shape, and low < high. Source: definition.
    """
    low, high = (jnp.asarray(a) for a in (low, high))
    dtype = jnp.result_type(low, high, float) if low.dtype.kind != "f" else low.dtype
    low, high = low.astype(dtype), high.astype(dtype)
    if low.ndim != 1 or low.shape != high.shape or not low.size:
        raise ValueError(
            f"points.box: low and high must be [d], of one length; got {low.shape}, {high.shape}"
        )
    if is_concrete(low, high):
        ends = np.asarray(low), np.asarray(high)
        if not (np.all(np.isfinite(ends)) and np.all(ends[0] < ends[1])):
            raise ValueError(f"points.box: low must be below high, both finite; got {low}, {high}")
    return Window(low, high)


def volume(window):
    """The area [] (or length, or volume) of a window. Source: definition."""
    return jnp.prod(window.high - window.low)


def uniform(key, window, n):
    """Independent uniform points [n, d] of a window. Source: definition."""
    shape = (n, *window.low.shape)
    unit = jax.random.uniform(key, shape, window.low.dtype)
    return window.low[None] + (window.high - window.low)[None] * unit


def pattern(points, capacity=None):
    """The `Pattern` of points [n, d], with room for `capacity` of them (n when None).

    Raises ValueError on points that are not [n, d] and finite, or more than capacity.
    Source: definition.
    """
    points = jnp.asarray(points)
    points = points if points.dtype.kind == "f" else points.astype(float)
    if points.ndim != 2:
        raise ValueError(f"points.pattern: points must be [n, d]; got {points.shape}")
    n, d = points.shape
    capacity = n if capacity is None else capacity
    if capacity < max(n, 1):
        raise ValueError(
            f"points.pattern: capacity must be at least 1 and hold the points; got {capacity} for "
            f"{n}"
        )
    if is_concrete(points) and not np.all(np.isfinite(points)):
        raise ValueError("points.pattern: points must be finite; got some that are not")
    padding = jnp.zeros((capacity - n, d), points.dtype)
    return Pattern(jnp.concatenate([points, padding]), jnp.arange(capacity) < n)


def count(pattern):
    """How many points [] a pattern has. Source: definition."""
    return jnp.sum(pattern.mask)


def neighbours(x, pattern, radius):
    """How many points [] of a pattern lie within a radius of x [d]. Source: definition."""
    squares = jnp.sum((pattern.points - x[None]) ** 2, -1)
    return jnp.sum(pattern.mask & (squares <= radius**2))


def pair_count(pattern, radius):
    """How many pairs [] of points lie within a radius [] of each other, the radius included.

    Raises ValueError on a radius that is not one number of at least 0.
    Source: Strauss 1975 (the statistic of his process).
    """
    if jnp.shape(radius) or (is_concrete(radius) and not 0 <= float(radius) < np.inf):
        raise ValueError(
            f"points.pair_count: radius must be one finite number of at least 0; got {radius}"
        )
    points, mask = pattern
    squares = jnp.sum((points[:, None] - points[None]) ** 2, -1)
    close = (squares <= radius**2) & mask[:, None] & mask[None]
    return jnp.sum(jnp.triu(close, 1))


def checked_dimension(where, points, d):
    """Raises ValueError unless points are [capacity, d]."""
    if points.ndim != 2 or points.shape[1] != d:
        raise ValueError(f"{where}: points must be [capacity, {d}]; got {points.shape}")


def within(points, window):
    """Whether points [n, d] lie in a window, its edges included, [n]. Source: definition."""
    return jnp.all((points >= window.low[None]) & (points <= window.high[None]), 1)


def checked_capacity(where, capacity):
    """Raises ValueError unless the capacity is at least 1."""
    if capacity < 1:
        raise ValueError(f"{where}: capacity must be at least 1; got {capacity}")
