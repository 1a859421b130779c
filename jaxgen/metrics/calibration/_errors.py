"""How far frequencies are from the probabilities that were said.

With d = outcome - probability and gap_b = E[d | bin b], the expected calibration error is the mean
over predictions of |gap_b| (norm 1) or of gap_b² (norm 2). Put into these the gaps of a sample and
noise counts as error: a calibrated predictor is given sd_b √(2/π) in each bin, with sd_b² = mean
p (1 - p) / n_b. The debiased forms take the sign, or the size, of a gap from other points than its
value, so that a calibrated predictor is given 0 on average, at every n.

Sources: Naeini, Cooper and Hauskrecht 2015, Obtaining well calibrated probabilities using Bayesian
binning; Guo et al. 2017, arXiv:1706.04599; Kumar, Liang and Ma 2019, arXiv:1909.10155 (the bias of
norm 2); Gupta et al. 2021, arXiv:2006.12800 (Kolmogorov and Smirnov).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.calibration._bins import assign, in_bins, means, ranks
from jaxgen.metrics.calibration._outcomes import events, probabilities

Array = jax.Array
FORMS = ("plugin", "debiased")


def _norm(where, norm):
    if norm not in (1, 2):
        raise ValueError(f"{where}: norm must be 1 or 2; got {norm!r}")


def calibration_error(
    probs: Array,
    outcomes: Array,
    *,
    norm: int = 1,
    bins: int = 15,
    spacing: str = "width",
    estimator: str = "debiased",
) -> Estimate:
    """The expected calibration error and its standard error, an Estimate of two [].

    The mean over predictions of |gap| (norm 1, in probability) or gap² (norm 2, its square), where
    gap is the frequency less the mean probability in a bin.

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1 (then of the likeliest class).
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.
        norm: 1 or 2.
        bins: their number.
        spacing: "width" for bins of equal width, "mass" for equal counts.
        estimator: "plugin" is the textbook one, biased upward (`bias_when_calibrated` by how much).
            "debiased", norm 2: the product of different points in a bin, unbiased. Norm 1: the bin
            in two halves, each half's gap with the sign of the other's; 0 on average where the
            truth is 0, short of the truth by at most 0.48 standard deviations of the gap (so much
            where the gap is about one of them, none far above), where the plug-in is over by up to
            0.80. Both may be negative, and give 0 for a bin of fewer than two.

    Choose bins so wide that the gaps that matter exceed their standard deviation: in narrower ones
    the plug-in of norm 1 counts noise and its debiased form misses gaps, while norm 2 stays right.
    Neither sees errors that cancel within a bin. Empty bins count nothing. The standard error is
    that of this bin structure, to leading order in n.
    Raises ValueError on bad probabilities, outcomes or a wrong name.
    Source: Guo et al. 2017, arXiv:1706.04599, section 2; norm 2 debiased: Kumar et al. 2019,
    arXiv:1909.10155, section 4; deviation: the variance taken off is that of outcome - probability,
    not of the outcome, which makes it exact where probabilities differ within a bin.
    """
    where = "calibration_error"
    _norm(where, norm)
    if estimator not in FORMS:
        raise ValueError(f"{where}: estimator must be one of {FORMS}; got {estimator!r}")
    probs, outcomes = events(where, probs, outcomes)
    place, d = assign(where, probs, bins, spacing), outcomes - probs
    share = in_bins(jnp.ones_like(d), place, bins) / d.size
    gap, noise = _gaps(d, place, bins)
    if estimator == "plugin":
        each = jnp.abs(gap) if norm == 1 else gap**2
    else:
        each = gap**2 - noise if norm == 2 else _crossed(d, probs, place, bins)
    spread = _variance(norm, estimator, gap, noise, share)
    true = jnp.maximum(gap**2 - noise, 0)
    level = jnp.sqrt(true) if norm == 1 else true
    between = jnp.sum(share * level**2) - jnp.sum(share * level) ** 2
    variance = jnp.sum(share**2 * spread) + jnp.maximum(between, 0) / d.size
    # A root of nothing has no derivative: a gradient flows through the value alone.
    error = jnp.sqrt(jax.lax.stop_gradient(variance))
    return Estimate(jnp.sum(share * each), error)


def _gaps(d, place, bins):
    """Mean and squared standard error, [bins], of d [n]; a bin of one has its square, of none 0."""
    count = in_bins(jnp.ones_like(d), place, bins)
    gap = means(d, place, bins)
    around = in_bins((d - gap[place]) ** 2, place, bins)
    noise = around / jnp.maximum(count * (count - 1), 1)
    return gap, jnp.where(count > 1, noise, gap**2)


def _crossed(d, probs, place, bins):
    """The mean gap of one half of a bin with the sign of the other's, [bins]."""
    order = jnp.lexsort((ranks(probs), place))
    start = jnp.cumsum(in_bins(jnp.ones(d.size, int), place, bins))
    start = jnp.concatenate([jnp.zeros(1, start.dtype), start[:-1]])
    within = jnp.zeros(d.size, int).at[order].set(jnp.arange(d.size)) - start[place]
    half = within % 2  # by turns in sorted order, so that no order of the data matters
    one = means(d, place * 2 + half, 2 * bins).reshape(bins, 2)
    one, other = one[:, 0], one[:, 1]
    return (one * jnp.sign(other) + other * jnp.sign(one)) / 2


def _variance(norm, estimator, gap, noise, share):
    """The variance of one bin's estimate, [bins], its gap being normal with variance `noise`."""
    square = jnp.maximum(gap**2 - noise, 0)
    if norm == 2:
        return 4 * square * noise + 2 * noise**2
    if estimator == "plugin":
        return square + noise - _folded(square, noise) ** 2
    half = 2 * noise  # a half's gap is twice as uncertain
    away = jnp.sqrt(square / jnp.where(half > 0, half, 1))
    sure = jnp.where(half > 0, jax.scipy.special.erf(away / jnp.sqrt(jnp.asarray(2, gap.dtype))), 1)
    return (square + half + _folded(square, half) ** 2) / 2 - square * sure**2


def _folded(square, variance):
    """E|z| for normal z of this squared mean and variance."""
    sd = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    mean = jnp.sqrt(square)
    away = mean / sd
    density = jnp.exp(-(away**2) / 2) * jnp.sqrt(jnp.asarray(2 / jnp.pi, sd.dtype))
    sure = jax.scipy.special.erf(away / jnp.sqrt(jnp.asarray(2, sd.dtype)))
    return jnp.where(variance > 0, sd * density + mean * sure, mean)


def bias_when_calibrated(
    probs: Array, *, norm: int = 1, bins: int = 15, spacing: str = "width"
) -> Array:
    """The mean plug-in calibration error, [], if events came as often as these probabilities say.

    Norm 2 is exact given the probabilities, sum_b (n_b / n) sd_b² with sd_b² = mean p (1 - p) /
    n_b; norm 1 takes a bin's gap as normal, sum_b (n_b / n) sd_b √(2 / π), and is a few per cent
    off in bins with less than about ten expected events.

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1 (then of the likeliest class).
        norm: 1 or 2.
        bins: their number.
        spacing: "width" or "mass".

    Raises ValueError on bad probabilities, norm, spacing or bins.
    Source: Kumar et al. 2019, arXiv:1909.10155, section 4; the mean of a folded normal.
    """
    _norm("bias_when_calibrated", norm)
    probs = probabilities("bias_when_calibrated", probs)
    probs = jnp.max(probs, axis=1) if probs.ndim == 2 else probs
    place = assign("bias_when_calibrated", probs, bins, spacing)
    total = in_bins(probs * (1 - probs), place, bins)  # n_b² sd_b²
    count = in_bins(jnp.ones_like(probs), place, bins)
    if norm == 2:
        return jnp.sum(total / jnp.maximum(count, 1)) / probs.size
    root = jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0)
    return jnp.sum(root) * jnp.sqrt(jnp.asarray(2 / jnp.pi, probs.dtype)) / probs.size


def maximum_calibration_error(
    probs: Array, outcomes: Array, *, bins: int = 15, spacing: str = "width"
) -> Array:
    """The largest |frequency - mean probability| of a bin, [], over bins that are not empty.

    Biased upward, and more by a bin of few: prefer "mass".

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1 (then of the likeliest class).
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.
        bins: their number.
        spacing: "width" or "mass".

    Raises ValueError on bad probabilities, outcomes, spacing or bins.
    Source: Guo et al. 2017, arXiv:1706.04599, section 2.
    """
    probs, outcomes = events("maximum_calibration_error", probs, outcomes)
    place = assign("maximum_calibration_error", probs, bins, spacing)
    return jnp.max(jnp.abs(means(outcomes - probs, place, bins)))


def kolmogorov_smirnov_error(probs: Array, outcomes: Array) -> Array:
    """The largest gap, [], between what was said and what came below any probability; no bins.

    max over s of |mean (outcome - probability) 1[probability <= s]|: it is at most the expected
    calibration error, and equals it where all gaps have one sign.

    Args:
        probs: [n] in [0, 1], or [n, k] of sum 1 (then of the likeliest class).
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.

    Raises ValueError on bad probabilities or outcomes.
    Source: Gupta et al. 2021, arXiv:2006.12800, section 3.1.
    """
    probs, outcomes = events("kolmogorov_smirnov_error", probs, outcomes)
    order = jnp.argsort(probs)
    said = probs[order]
    gaps = jnp.cumsum((outcomes - probs)[order]) / probs.size
    last = jnp.concatenate([said[1:] > said[:-1], jnp.ones(1, bool)])  # ties come as one
    return jnp.max(jnp.where(last, jnp.abs(gaps), 0))
