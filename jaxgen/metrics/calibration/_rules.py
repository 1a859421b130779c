"""Proper scoring rules, and distances to probabilities that are known.

Sources: Brier 1950, Verification of forecasts expressed in terms of probability; Murphy 1973, A new
vector partition of the probability score; Stephenson, Coelho and Jolliffe 2008, Two extra
components in the Brier score decomposition; Liu et al. 2022, arXiv:2111.10734 (known p).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.calibration._bins import assign, in_bins, means
from jaxgen.metrics.calibration._outcomes import events, probabilities, read

Array = jax.Array


class BrierParts(NamedTuple):
    """The parts of a Brier score: reliability - resolution + uncertainty + within. Source: Murphy
    1973; Stephenson et al. 2008.
    """

    reliability: Array  # [], mean squared gap of a bin; 0 is best
    resolution: Array  # [], mean squared distance of a bin's frequency to the overall one
    uncertainty: Array  # [], f (1 - f) of the overall frequency
    within: Array  # [], what differences of probabilities within bins add; 0 without any


def brier(probs: Array, outcomes: Array) -> Array:
    """The mean squared distance, [], of probabilities to what came; 0 is best.

    Args:
        probs: [n] in [0, 1]: (p - y)²; or [n, k]: sum over classes, twice as much for k = 2.
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.

    Raises ValueError on bad probabilities or outcomes. Source: Brier 1950.
    """
    probs, outcomes = read("brier", probs, outcomes)
    if probs.ndim == 1:
        return jnp.mean((probs - outcomes.astype(probs.dtype)) ** 2)
    came = jax.nn.one_hot(outcomes, probs.shape[1], dtype=probs.dtype)
    return jnp.mean(jnp.sum((probs - came) ** 2, axis=1))


def brier_parts(
    probs: Array, outcomes: Array, *, bins: int = 15, spacing: str = "width"
) -> BrierParts:
    """The decomposition of the Brier score of [n] events, a BrierParts of four [].

    reliability - resolution + uncertainty + within is the score, exactly. The first two are biased
    upward by about (bins / n) times a Bernoulli variance.

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1 (then of the likeliest class).
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.
        bins: their number.
        spacing: "width" or "mass".

    Raises ValueError on bad probabilities, outcomes, spacing or bins.
    Source: Murphy 1973; Stephenson et al. 2008, equation 5 (`within`).
    """
    probs, outcomes = events("brier_parts", probs, outcomes)
    place = assign("brier_parts", probs, bins, spacing)
    share = in_bins(jnp.ones_like(probs), place, bins) / probs.size
    said, came, overall = means(probs, place, bins), means(outcomes, place, bins), outcomes.mean()
    away_p, away_y = probs - said[place], outcomes - came[place]
    return BrierParts(
        jnp.sum(share * (said - came) ** 2),
        jnp.sum(share * (came - overall) ** 2),
        overall * (1 - overall),
        jnp.mean(away_p**2 - 2 * away_p * away_y),
    )


def log_loss(probs: Array, outcomes: Array) -> Array:
    """The mean of -log of the probability given to what came, [], in nats.

    Infinite where something came that was given 0: clip first if that is not wanted.

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1.
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.

    Raises ValueError on bad probabilities or outcomes. Source: Good 1952, Rational decisions.
    """
    probs, outcomes = read("log_loss", probs, outcomes)
    if probs.ndim == 1:
        came = jnp.where(outcomes == 1, probs, 1 - probs)
    else:
        came = jnp.take_along_axis(probs, outcomes[:, None], axis=1)[:, 0]
    return -jnp.mean(jnp.log(came))


def _both(where, probs, true):
    probs, true = probabilities(where, probs), probabilities(where, true)
    if probs.shape != true.shape:
        raise ValueError(
            f"{where}: both must have one shape [n] or [n, k]; got {probs.shape} and {true.shape}"
        )
    return probs, true


def probability_error(probs: Array, true: Array) -> Array:
    """The mean squared distance, [], of probabilities to the true ones (MSE_p).

    Args:
        probs: [n] in [0, 1], or [n, k]: squares are summed over classes.
        true: the probabilities under which events come, of the same shape.

    Raises ValueError on bad probabilities or unequal shapes.
    Source: Liu et al. 2022, arXiv:2111.10734 (metrics with ground truth).
    """
    probs, true = _both("probability_error", probs, true)
    return jnp.mean(jnp.sum(((probs - true) ** 2).reshape(probs.shape[0], -1), axis=1))


def probability_divergence(probs: Array, true: Array) -> Array:
    """The mean Kullback-Leibler divergence, [] in nats, from the true probabilities (KL_p).

    mean of sum true log (true / probs); infinite where probs says 0 and the truth does not.

    Args:
        probs: [n] in [0, 1] (both outcomes count), or [n, k].
        true: the probabilities under which events come, of the same shape.

    Raises ValueError on bad probabilities or unequal shapes.
    Source: Liu et al. 2022, arXiv:2111.10734 (metrics with ground truth).
    """
    probs, true = _both("probability_divergence", probs, true)
    entropy = jax.scipy.special.rel_entr
    each = entropy(true, probs)
    if probs.ndim == 1:
        return jnp.mean(each + entropy(1 - true, 1 - probs))
    return jnp.mean(jnp.sum(each, axis=1))
