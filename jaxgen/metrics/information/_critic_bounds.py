"""Bounds on mutual information from the scores of a critic, and how far each may be off.

scores [n, n] holds f(x_i, y_j): the diagonal are the pairs that belong together, all others stand
for independent ones. Each is a mean over the diagonal and a mean over the rest:

    InfoNCE            log n + <f_ii - log Σ_j e^f_ij>         <= log n, f free up to c(x)
    Donsker-Varadhan   <f_ii> - log <e^f_ij>                   tight at f = log ratio + c  (MINE)
    NWJ                <f_ii> - <e^(f_ij - 1)>                 tight at f = 1 + log ratio, unbiased
    SMILE              <f_ii> - log <e^clip(f_ij, -τ, τ)>      no bound: less noise, some bias
    Jensen-Shannon     log 2 - ½ <log(1 + e^-f_ii)> - ½ <log(1 + e^f_ij)>   of that divergence

Standard errors are jackknives over leaving out one pair (a row and its column); InfoNCE's is the
spread of its rows. All are differentiable in the scores.

Sources: Poole et al. 2019, arXiv:1905.06922, section 2 (NWJ, InfoNCE); Belghazi et al.
2018, arXiv:1801.04062 (MINE); Song and Ermon 2020, arXiv:1910.06222, section 4
(SMILE); Hjelm et al. 2019, arXiv:1808.06670 (Jensen-Shannon).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._points import finite, mean_of, positive

Array = jax.Array


def _square(where, scores):
    scores = jnp.asarray(scores)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or scores.shape[0] < 3:
        raise ValueError(f"{where}: scores must be [n, n] with n >= 3; got {scores.shape}")
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(f"{where}: scores must be of a floating dtype; got {scores.dtype}")
    finite(where, "scores", scores)
    return scores


def _others(scores, fill):
    n = scores.shape[0]
    return jnp.where(jnp.eye(n, dtype=bool), fill, scores)


def _jackknife(left_out):
    """The standard error [] from the n values with one pair left out."""
    n = left_out.shape[0]
    square = (n - 1) / n * jnp.sum((left_out - jnp.mean(left_out)) ** 2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _without_each(terms):
    """The mean of terms [n] without each one."""
    return (jnp.sum(terms) - terms) / (terms.shape[0] - 1)


def _pairs_without_each(pairs):
    """The mean [], and the means [n] without row and column i, of off-diagonal terms [n, n]."""
    n = pairs.shape[0]
    pairs = _others(pairs, 0)
    rows, columns = jnp.sum(pairs, axis=1), jnp.sum(pairs, axis=0)
    total = jnp.sum(rows)
    return total / (n * (n - 1)), (total - rows - columns) / ((n - 1) * (n - 2))


def _log_ratio_bound(positive_terms, negatives):
    """<f_ii> - log <e^f_ij>, scaled by the largest term so that exponentials are at most one."""
    top = jax.lax.stop_gradient(jnp.max(_others(negatives, -jnp.inf)))
    mean, without = _pairs_without_each(jnp.exp(negatives - top))
    tiny = jnp.finfo(negatives.dtype).tiny
    # Without the pair of the largest term the sum may underflow or round below zero.
    log = lambda a: jnp.log(jnp.maximum(a, tiny)) + top
    left = _without_each(positive_terms) - log(without)
    return Estimate(jnp.mean(positive_terms) - log(mean), _jackknife(left))


def infonce(scores: Array) -> Estimate:
    """The InfoNCE bound in nats, an Estimate of two []: at most log n, and below I on average.

    Args:
        scores: [n, n], f(x_i, y_j), n >= 3; adding c(x_i) to a row changes nothing.

    Raises ValueError unless scores is a finite square matrix of at least 3 rows.
    Source: van den Oord et al. 2018, arXiv:1807.03748, section 2.3; Poole et al. 2019,
    arXiv:1905.06922, section 2.
    """
    scores = _square("infonce", scores)
    n = jnp.asarray(scores.shape[0], scores.dtype)
    return mean_of(jnp.log(n) + jnp.diagonal(jax.nn.log_softmax(scores, axis=1)))


def nwj(scores: Array) -> Estimate:
    """The bound of Nguyen, Wainwright and Jordan in nats, an Estimate of two [].

    Unbiased for a lower bound of I, tight at the critic 1 + log ratio; its noise grows as e^I.
    For a critic trained on `jensen_shannon`, give scores + 1.

    Args:
        scores: [n, n], f(x_i, y_j), n >= 3.

    Raises ValueError unless scores is a finite square matrix of at least 3 rows.
    Source: Poole et al. 2019, arXiv:1905.06922, section 2.
    """
    scores = _square("nwj", scores)
    own = jnp.diagonal(scores)
    mean, without = _pairs_without_each(jnp.exp(scores - 1))
    return Estimate(jnp.mean(own) - mean, _jackknife(_without_each(own) - without))


def donsker_varadhan(scores: Array) -> Estimate:
    """The Donsker-Varadhan (MINE) bound in nats, an Estimate of two [].

    Tight at the critic log ratio plus any constant; too large on average by the noise of the
    logarithm of a mean, so no bound at small n.

    Args:
        scores: [n, n], f(x_i, y_j), n >= 3; adding a constant changes nothing.

    Raises ValueError unless scores is a finite square matrix of at least 3 rows.
    Source: Belghazi et al. 2018, arXiv:1801.04062, section 3.
    """
    scores = _square("donsker_varadhan", scores)
    return _log_ratio_bound(jnp.diagonal(scores), scores)


def smile(scores: Array, *, clip: float = 5.0) -> Estimate:
    """The clipped Donsker-Varadhan estimate in nats, an Estimate of two [].

    Its noise is bounded by e^(2 clip); its bias at the critic log ratio is
    -log E[e^clip(f, -clip, clip)], E over independent pairs.

    Args:
        scores: [n, n], f(x_i, y_j), n >= 3.
        clip: of the scores of independent pairs; the pairs that belong together are not clipped.

    Raises ValueError unless scores is a finite square matrix of at least 3 rows, clip > 0.
    Source: Song and Ermon 2020, arXiv:1910.06222, section 4.
    """
    scores = _square("smile", scores)
    positive("smile", "clip", clip)
    return _log_ratio_bound(jnp.diagonal(scores), jnp.clip(scores, -clip, clip))


def jensen_shannon(scores: Array) -> Estimate:
    """A lower bound, an Estimate of two [] in nats, on the Jensen-Shannon divergence of pairs.

    Between the joint law and the product of the marginals: at most log 2, tight at the critic log
    ratio. It trains a critic calmly; read the information of that by `nwj(scores + 1)`.

    Args:
        scores: [n, n], f(x_i, y_j), n >= 3.

    Raises ValueError unless scores is a finite square matrix of at least 3 rows.
    Source: Hjelm et al. 2019, arXiv:1808.06670, section 3.1, scaled and shifted to the divergence.
    """
    scores = _square("jensen_shannon", scores)
    own = jax.nn.softplus(-jnp.diagonal(scores))
    mean, without = _pairs_without_each(jax.nn.softplus(scores))
    value = jnp.log(2.0) - (jnp.mean(own) + mean) / 2
    return Estimate(value.astype(scores.dtype), _jackknife((_without_each(own) + without) / 2))
