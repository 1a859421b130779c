"""Whether a model copies its training data: are samples closer to it than fresh data are?

Distances are Euclidean, from differences (never an expanded square): a copy is at 0 exactly.

Sources: Meehan, Chaudhuri and Dasgupta 2020, arXiv:2004.05675, section 3 (the test); Mann and
Whitney 1947 (its null law, with ties).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics._clouds import flat
from jaxgen.metrics._mmd import Estimate

Array = jax.Array


class Copying(NamedTuple):
    """How far samples are nearer to training data than held-out data are."""

    z: Array  # [], about N(0, 1) on fresh samples; far below 0 for copies, above 0 for misfits
    p_value: Array  # [], the chance of a z this low on fresh samples
    closer: Array  # [], the share of pairs (sample, held-out) in which the sample is the nearer


def _three(where, training, held_out, samples, least):
    training, samples_flat = flat(where, training, samples, least=least)
    held_out, samples_flat = flat(where, held_out, samples_flat.reshape(jnp.shape(samples)))
    dtype = jnp.result_type(training, held_out)
    return training.astype(dtype), held_out.astype(dtype), samples_flat.astype(dtype)


def _least(xs, ys, k, chunk):
    """The k least squared distances [n, k] from each of xs to ys, and the index of the first."""

    def one(x):
        square = jax.vmap(lambda y: jnp.sum((x - y) ** 2))(ys)
        least, index = jax.lax.top_k(-square, k)
        return -least, index[0]

    if xs.shape[0] <= chunk:
        return jax.vmap(one)(xs)
    return jax.lax.map(one, xs, batch_size=chunk)


def _nearer(to_training, to_held_out):
    """1 where the first is the smaller, 1/2 on ties."""
    dtype = to_training.dtype
    less, same = to_training < to_held_out, to_training == to_held_out
    return less.astype(dtype) + same.astype(dtype) / 2


def copy_rate(training: Array, held_out: Array, samples: Array, *, chunk: int = 256) -> Estimate:
    """The share of samples nearer to training than to held-out data, an Estimate of two [].

    Its mean is exactly n / (n + m) on fresh samples, 1/2 for equal sizes, whatever the law; copies
    pull it to 1. Ties count half. The standard error counts all three samples as drawn: how many
    samples fall to a point varies from point to point, and which points are training points is
    chance (a binomial error is too small: it holds the two data sets fixed). On fresh samples its
    square is exact on average. A hundred copies among a million samples do not show here: look at
    `nearest`.

    Args:
        training: [n, *event], n >= 2.
        held_out: [m, *event], m >= 2, of the same law, unseen by the model.
        samples: [k, *event], k >= 2.
        chunk: samples treated at a time.

    Raises ValueError on unequal event shapes or too few points.
    Source: Meehan et al. 2020, arXiv:2004.05675, section 2 (the three-sample problem); the error by
    the exchangeability of training and held-out points (Fisher 1935) and the delta method.
    """
    where = "copy_rate"
    training, held_out, samples = _three(where, training, held_out, samples, 2)
    for name, x in (("held_out", held_out), ("samples", samples)):
        if x.shape[0] < 2:
            raise ValueError(f"{where}: {name} must hold at least 2 points; got {x.shape[0]}")
    near, near_index = _least(samples, training, 1, chunk)
    fresh, fresh_index = _least(samples, held_out, 1, chunk)
    each = _nearer(near[:, 0], fresh[:, 0])
    value, (n, m, k) = jnp.mean(each), (x.shape[0] for x in (training, held_out, samples))
    # How many samples fall to each data point; the share is a ratio of two sums of these.
    to_training = jax.ops.segment_sum(each, near_index, n)
    to_held_out = jax.ops.segment_sum(1 - each, fresh_index, m)
    variance = n * jnp.var(to_training, ddof=1) * (1 - value) ** 2
    variance += m * jnp.var(to_held_out, ddof=1) * value**2
    return Estimate(value, jnp.sqrt(variance) / k)


def copying_test(training: Array, held_out: Array, samples: Array, *, chunk: int = 256) -> Copying:
    """Are samples nearer to the training data than held-out data are? Copying(z, p_value, closer).

    The Mann-Whitney test on distances to the nearest training point. Given the training data,
    samples and held-out points of one law are exchangeable, so the test is calibrated whatever the
    law and dimension; only the normal approximation is one (20 points a side are enough).

    Args:
        training: [n, *event].
        held_out: [m, *event], of the same law, unseen by the model.
        samples: [k, *event].
        chunk: points treated at a time.

    Raises ValueError on unequal event shapes. Where all distances are equal, z is 0 and p_value
    1/2. Source: Meehan et al. 2020, arXiv:2004.05675, section 3. Deviation: the whole space is one
    cell; to test cell by cell, call it on each cell's points.
    """
    training, held_out, samples = _three("copying_test", training, held_out, samples, 1)
    (of_samples, _), (of_fresh, _) = (_least(x, training, 1, chunk) for x in (samples, held_out))
    a, b = jnp.sort(of_samples[:, 0]), jnp.sort(of_fresh[:, 0])
    k, m, dtype = a.shape[0], b.shape[0], a.dtype
    below = jnp.searchsorted(b, a, side="left") + jnp.searchsorted(b, a, side="right")
    above_fresh = jnp.sum(below.astype(dtype)) / (2 * k * m)  # ties count half
    both = jnp.sort(jnp.concatenate([a, b]))
    tie = jnp.searchsorted(both, both, side="right") - jnp.searchsorted(both, both, side="left")
    n = float(k + m)
    tied = jnp.sum(tie.astype(dtype) ** 2 - 1) / (n * (n - 1))  # Σ over groups of (t³ - t)
    variance = ((n + 1) - tied) / (12.0 * k * m)
    varies = variance > 8 * jnp.finfo(dtype).eps / (k * m) * n
    z = jnp.where(varies, (above_fresh - 0.5) / jnp.sqrt(jnp.where(varies, variance, 1)), 0)
    return Copying(z, jax.scipy.stats.norm.cdf(z), 1 - above_fresh)
