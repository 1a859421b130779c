"""Predictions in bins: of equal width, or of equal mass.

Sources: Murphy and Winkler 1977, Reliability of subjective probability forecasts; Nguyen and
O'Connor 2015, arXiv:1508.05154 (bins of equal mass); Wilson 1927, Probable inference, the law of
succession, and statistical inference (the interval).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.calibration._outcomes import events

Array = jax.Array


class Reliability(NamedTuple):
    """A reliability curve: what was said and what came, bin by bin. Source: Murphy, Winkler 1977.

    An empty bin has count 0, its centre as confidence and frequency, and the interval [0, 1].
    """

    count: Array  # [b], predictions in the bin
    confidence: Array  # [b], their mean probability
    frequency: Array  # [b], the share of events that came
    lower: Array  # [b], of Wilson's interval around the frequency
    upper: Array  # [b]


def assign(where: str, probs: Array, bins: int, spacing: str) -> Array:
    """The bin, [n] in 0 .. bins - 1, of every probability [n].

    "width": bin i is [i / bins, (i + 1) / bins), the last one closed. "mass": the i-th of `bins`
    runs of sorted predictions, equal in length to one; equal ones keep their order, so a tie may
    be cut. Raises ValueError on a wrong name or bins < 1.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ValueError(f"{where}: bins must be a whole number >= 1; got {bins!r}")
    if spacing == "width":
        return jnp.clip(jnp.floor(probs * bins).astype(int), 0, bins - 1)
    if spacing == "mass":
        return ranks(probs) * bins // probs.shape[0]
    raise ValueError(f'{where}: spacing must be "width" or "mass"; got {spacing!r}')


def ranks(x: Array) -> Array:
    """The place, [n] in 0 .. n - 1, of every x [n] when sorted; equal ones keep their order."""
    n = x.shape[0]
    return jnp.zeros(n, int).at[jnp.argsort(x)].set(jnp.arange(n))


def in_bins(values: Array, where: Array, bins: int) -> Array:
    """The sums, [bins], of values [n] over the bins named by where [n]."""
    return jnp.zeros(bins, values.dtype).at[where].add(values)


def means(values: Array, where: Array, bins: int) -> Array:
    """The means, [bins], of values [n] over bins where [n]; 0 in an empty one."""
    count = in_bins(jnp.ones_like(values), where, bins)
    return in_bins(values, where, bins) / jnp.maximum(count, 1)


def reliability_curve(
    probs: Array, outcomes: Array, *, bins: int = 15, spacing: str = "width", z: float = 1.96
) -> Reliability:
    """The reliability curve, a Reliability of five [bins], of probabilities and what came.

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1 (then of the likeliest class).
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.
        bins: their number.
        spacing: "width" for bins of equal width, "mass" for equal counts.
        z: half-width of the interval in standard errors; 1.96 covers 95 %.

    Raises ValueError on bad probabilities, outcomes, spacing or bins.
    Source: Murphy and Winkler 1977; interval of Wilson 1927.
    """
    probs, outcomes = events("reliability_curve", probs, outcomes)
    place = assign("reliability_curve", probs, bins, spacing)
    count = in_bins(jnp.ones_like(probs), place, bins)
    centre = ((jnp.arange(bins) + 0.5) / bins).astype(probs.dtype)
    some, n = count > 0, jnp.maximum(count, 1)
    confidence = jnp.where(some, means(probs, place, bins), centre)
    frequency = jnp.where(some, means(outcomes, place, bins), centre)
    middle = (frequency + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * jnp.sqrt(frequency * (1 - frequency) / n + z**2 / (4 * n**2))
    lower = jnp.where(some, jnp.clip(middle - half, 0, 1), 0)
    upper = jnp.where(some, jnp.clip(middle + half, 0, 1), 1)
    return Reliability(count, confidence, frequency, lower, upper)
