"""Bounds on the entropy of a mixture from distances between its components, and on a layer's MI.

    h(mixture) ≷ Σ_i w_i h(p_i) - Σ_i w_i log Σ_j w_j exp(-D(p_i, p_j))

is above the truth with D the Kullback-Leibler divergence, and below it with D a Chernoff
divergence -log ∫ p_i^a p_j^(1-a), a = ½ being Bhattacharyya's. Both are exact when components
coincide or are far apart.

A deterministic layer has infinite information on continuous inputs; noise of a width set by the
layer's own spread makes it finite, and independent of its scale.

Sources: Kolchinsky and Tracey 2017, arXiv:1706.02419, section 3; Saxe et al. 2018 and
Chelombiev et al. 2019, arXiv:1902.09037, section 3.2 (noise scaled to the layer).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.information._balls import size_of
from jaxgen.metrics.information._points import each_row, points, positive

Array = jax.Array


class Bounds(NamedTuple):
    """A number that lies between two others."""

    lower: Array  # []
    upper: Array  # []


def _shapes(log_weights, means, covs):
    log_weights, means, covs = map(jnp.asarray, (log_weights, means, covs))
    k, d = means.shape if means.ndim == 2 else (0, 0)
    if k == 0 or d == 0 or log_weights.shape != (k,) or covs.shape not in ((k, d, d), (d, d)):
        raise ValueError(
            "entropy_mixture_bounds: log_weights [k], means [k, d], covs [k, d, d] or [d, d] must "
            f"fit; got {log_weights.shape}, {means.shape}, {covs.shape}"
        )
    dtype = jnp.result_type(log_weights, means, covs, jnp.float32)
    covs = jnp.broadcast_to(covs[None] if covs.ndim == 2 else covs, (k, d, d))
    return log_weights.astype(dtype), means.astype(dtype), covs.astype(dtype)


def _log_det(chol):
    return 2 * jnp.sum(jnp.log(jnp.diagonal(chol)))


def _kullback(mean_p, chol_p, mean_q, chol_q):
    """KL(p || q) [] of Gaussians from Cholesky factors."""
    solve = lambda b: jax.scipy.linalg.solve_triangular(chol_q, b, lower=True)
    trace = jnp.sum(solve(chol_p) ** 2)
    shift = jnp.sum(solve(mean_p - mean_q) ** 2)
    return (trace + shift - mean_p.shape[0] + _log_det(chol_q) - _log_det(chol_p)) / 2


def _bhattacharyya(mean_p, chol_p, mean_q, chol_q):
    """-log ∫ √(p q), [], of Gaussians from Cholesky factors."""
    middle = jnp.linalg.cholesky((chol_p @ chol_p.T + chol_q @ chol_q.T) / 2)
    shift = jax.scipy.linalg.solve_triangular(middle, mean_p - mean_q, lower=True)
    return (
        jnp.sum(shift**2) / 8 + (_log_det(middle) - (_log_det(chol_p) + _log_det(chol_q)) / 2) / 2
    )


def entropy_mixture_bounds(log_weights: Array, means: Array, covs: Array) -> Bounds:
    """Bounds(lower [], upper []) in nats on the entropy of a mixture of Gaussians.

    Args:
        log_weights: [k], normalised here.
        means: [k, d].
        covs: [k, d, d], or one [d, d] for all; positive definite.

    Raises ValueError on shapes that do not fit.
    Source: Kolchinsky and Tracey 2017, arXiv:1706.02419, sections 3.2 and 3.3.
    """
    log_weights, means, covs = _shapes(log_weights, means, covs)
    log_weights = jax.nn.log_softmax(log_weights)
    weights = jnp.exp(log_weights)
    chols = jnp.linalg.cholesky(covs)
    d = means.shape[1]
    own = (d * jnp.log(2 * jnp.pi * jnp.e) + jax.vmap(_log_det)(chols)) / 2

    def bound(distance):
        pair = lambda m, c: jax.vmap(lambda n, e: distance(m, c, n, e))(means, chols)
        far = jax.vmap(pair)(means, chols)
        overlap = jax.nn.logsumexp(log_weights[None] - far, axis=1)
        return jnp.vdot(weights, own - overlap)

    return Bounds(bound(_bhattacharyya), bound(_kullback))


def _overlap(xs, factor, same, chunk):
    """-mean_i log mean_j exp(-factor |x_i - x_j|²), [], over j of the same label where given."""

    def term(i, x):
        log_each = -factor * size_of(x[None] - xs, "euclidean")
        if same is None:
            return jax.nn.logsumexp(log_each) - jnp.log(jnp.asarray(xs.shape[0], xs.dtype))
        alike = same[i] == same
        count = jnp.sum(alike.astype(xs.dtype))
        return jax.nn.logsumexp(jnp.where(alike, log_each, -jnp.inf)) - jnp.log(count)

    return -jnp.mean(each_row(term, xs, chunk))


def mi_layer_kde(
    ts: Array, labels: Array | None = None, *, width: float = 0.05, chunk: int = 256
) -> Bounds:
    """Bounds(lower [], upper []) in nats on a layer's information about its inputs or labels.

    The layer is t + N(0, s² I) with s = width times the largest deviation of an activation from its
    unit's mean, so scaling or shifting the layer changes nothing; a constant layer has 0.

    Args:
        ts: activations [n, *event], one for each of n equally likely inputs.
        labels: [n] integers, or None: with them the information is I(t; label), and the two
            numbers are differences of lower with lower and upper with upper bounds, which are
            estimates and no longer bounds.
        width: of the noise beside the layer's range.
        chunk: points treated at a time; memory grows as chunk · n.

    Raises ValueError on fewer than two points, labels of another length or width <= 0.
    Source: Kolchinsky and Tracey 2017, arXiv:1706.02419, section 3; Chelombiev et al.
    2019, arXiv:1902.09037, section 3.2 (recalled: their scale is the largest activation).
    """
    rows = points("mi_layer_kde", "ts", ts)
    positive("mi_layer_kde", "width", width)
    if labels is not None and jnp.shape(labels) != (rows.shape[0],):
        raise ValueError(
            f"mi_layer_kde: labels must be [{rows.shape[0]}]; got shape {jnp.shape(labels)}"
        )
    rows = rows - jnp.mean(rows, axis=0, keepdims=True)
    reach = jnp.max(jnp.abs(rows))
    # What rounding leaves of a constant layer is no spread.
    rounding = 8 * jnp.finfo(rows.dtype).eps * jnp.max(jnp.abs(jnp.asarray(ts)))
    rows = jnp.where(reach > rounding, rows / jnp.where(reach > rounding, reach, 1), 0)
    found = []
    for factor in (1 / (8 * width**2), 1 / (2 * width**2)):
        value = _overlap(rows, factor, None, chunk)
        if labels is not None:
            value = value - _overlap(rows, factor, jnp.asarray(labels), chunk)
        found.append(value)
    return Bounds(*found)
