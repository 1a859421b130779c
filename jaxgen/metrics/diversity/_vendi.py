"""The Vendi score: the effective number of different points, from the spectrum of similarities.

    VS_q = exp H_q(lambda),  lambda the eigenvalues of P^½ K P^½,  K_ii = 1,  P = diag(p) (or 1/n)
    H_q = log(Σ lambda^q) / (1 - q);  H_1 = -Σ lambda log lambda;  H_0 = log rank;  H_∞ = -log max

For inner products of unit feature rows X the d eigenvalues of Xᵀ P X are the same, and zeros.

Sources: Friedman and Dieng 2023, arXiv:2210.02410, definitions 3.1 and 3.2; Pasarkar and Dieng
2024, arXiv:2310.12952 (orders); Nguyen and Dieng 2024, arXiv:2405.02449 (quality). Deviations:
eigenvalues at rounding level count as 0 and get no gradient.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._clouds import finite, flat

Array = jax.Array


def _order(where, order):
    if isinstance(order, jax.core.Tracer) or not order >= 0:
        raise ValueError(f"{where}: order must be a number >= 0, known before tracing; got {order}")
    return float(order)


def _kept(values):
    """Eigenvalues [n] above rounding, with 1 in place of the others, and which they are."""
    floor = values.shape[0] * jnp.finfo(values.dtype).eps * jnp.max(values)
    kept = values > floor
    return jnp.where(kept, values, 1), kept


def _entropy(values, order):
    """H_q [] of eigenvalues [n] that sum to 1."""
    safe, kept = _kept(values)
    if order == float("inf"):
        return -jnp.log(jnp.max(values))
    if order == 0:
        return jnp.log(jnp.sum(kept.astype(values.dtype)))
    if order == 1:
        return -jnp.sum(jnp.where(kept, safe * jnp.log(safe), 0))
    # Σ lambda^q = 1 + Σ lambda (lambda^{q - 1} - 1): no cancellation for q near 1.
    over_one = jnp.where(kept, safe * jnp.expm1((order - 1) * jnp.log(safe)), 0)
    return jnp.log1p(jnp.maximum(jnp.sum(over_one), -1)) / (1 - order)


def _entropy_slope(values, order):
    """dH_q / dlambda, [n], 0 where lambda is at rounding level."""
    safe, kept = _kept(values)
    if order == float("inf"):
        top = values == jnp.max(values)
        return -top.astype(values.dtype) / jnp.sum(values * top)
    if order == 0:
        return jnp.zeros_like(values)
    if order == 1:
        return jnp.where(kept, -jnp.log(safe) - 1, 0)
    total = jnp.sum(jnp.where(kept, safe**order, 0))
    return jnp.where(kept, order * safe ** (order - 1) / total / (1 - order), 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _spectral_entropy(matrix, order):
    """H_q [] of the eigenvalues of a symmetric matrix [n, n] of trace 1; equal ones are no harm."""
    return _entropy(jnp.maximum(jnp.linalg.eigvalsh(matrix), 0), order)


@_spectral_entropy.defjvp
def _spectral_entropy_jvp(order, primals, tangents):
    values, vectors = jnp.linalg.eigh(primals[0])
    values = jnp.maximum(values, 0)
    slope = (vectors * _entropy_slope(values, order)[None]) @ vectors.T
    return _entropy(values, order), jnp.vdot(slope, tangents[0])


def _probabilities(where, n, weights, dtype):
    if weights is None:
        return jnp.full(n, 1 / n, dtype)
    weights = jnp.asarray(weights, dtype)
    if weights.shape != (n,):
        raise ValueError(f"{where}: weights must be [{n}], one a point; got {weights.shape}")
    finite(where, "weights", weights)
    if not isinstance(weights, jax.core.Tracer):
        host = np.asarray(weights)
        if host.min() < 0 or abs(host.sum() - 1) > 1e-4:
            raise ValueError(
                f"{where}: weights must not be negative and must sum to 1; "
                f"got least {host.min():.3g} and sum {host.sum():.6g}"
            )
    return weights


def _scored(where, matrix, order, weights, quality):
    """The score of a matrix of trace 1, times the mean quality."""
    score = jnp.exp(_spectral_entropy(matrix, order))
    if quality is None:
        return score
    quality = jnp.asarray(quality, matrix.dtype)
    if quality.shape != weights.shape:
        raise ValueError(
            f"{where}: quality must be {list(weights.shape)}, one a point; got {quality.shape}"
        )
    return score * jnp.vdot(weights, quality)


def _root(weights):
    return jnp.where(weights > 0, jnp.sqrt(jnp.where(weights > 0, weights, 1)), 0)


def vendi_of_gram(
    gram: Array,
    *,
    order: float = 1.0,
    weights: Array | None = None,
    quality: Array | None = None,
) -> Array:
    """The Vendi score of a matrix of similarities: the effective number of points, [] in [1, n].

    Args:
        gram: similarities [n, n]: symmetric, no negative eigenvalue, 1 on the diagonal.
        order: q >= 0, a number known before tracing; small orders count rare points, large ones the
            common, float("inf") the commonest.
        weights: probabilities [n]; None is 1/n.
        quality: of every point, [n]: the score is multiplied by its mean.

    Raises ValueError on a matrix that is not square or, where concrete, not symmetric with a
    diagonal of 1; on a wrong order, weights or quality. Source: Friedman and Dieng 2023,
    arXiv:2210.02410, definition 3.1; Pasarkar and Dieng 2024, arXiv:2310.12952.
    """
    where, gram = "vendi_of_gram", jnp.asarray(gram)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] < 1:
        raise ValueError(f"{where}: gram must be [n, n]; got {gram.shape}")
    if not jnp.issubdtype(gram.dtype, jnp.floating):
        raise ValueError(f"{where}: gram must be of a floating dtype; got {gram.dtype}")
    finite(where, "gram", gram)
    if not isinstance(gram, jax.core.Tracer):
        host = np.asarray(gram)
        off = max(np.abs(host - host.T).max(), np.abs(np.diagonal(host) - 1).max())
        if off > 1e-4:
            raise ValueError(
                f"{where}: gram must be symmetric with 1 on its diagonal; off by {off:.2e}"
            )
    weights = _probabilities(where, gram.shape[0], weights, gram.dtype)
    root = _root(weights)
    matrix = root[:, None] * gram * root[None, :]
    return _scored(where, matrix, _order(where, order), weights, quality)


def _gram(kernel, xs, chunk):
    row = lambda x: jax.vmap(lambda y: kernel(x, y))(xs)
    if xs.shape[0] <= chunk:
        return jax.vmap(row)(xs)
    return jax.lax.map(row, xs, batch_size=chunk)


def vendi(
    xs: Array,
    kernel: Callable[[Array, Array], Array] | None = None,
    *,
    order: float = 1.0,
    weights: Array | None = None,
    quality: Array | None = None,
    chunk: int = 1024,
) -> Array:
    """The Vendi score of a sample: the effective number of different points, [] in [1, n].

    Args:
        xs: [n, *event].
        kernel: (x [*event], y [*event]) -> [], with kernel(x, x) = 1. None is the cosine of the
            flattened points, for which the smaller of an n-by-n and a d-by-d matrix is made.
        order: q >= 0, as in `vendi_of_gram`.
        weights: probabilities [n]; None is 1/n.
        quality: of every point, [n]: the score is multiplied by its mean.
        chunk: rows of the kernel's matrix made at a time.

    Raises ValueError on a wrong order, weights or quality, or concrete points whose kernel with
    themselves is not 1. A point at 0 has no direction: cosines with it are 0 and it counts for
    nothing. Source: Friedman and Dieng 2023, arXiv:2210.02410, definitions 3.1 and 3.2.
    """
    where, event = "vendi", jnp.shape(xs)[1:]
    xs, _ = flat(where, xs, xs)
    weights = _probabilities(where, xs.shape[0], weights, xs.dtype)
    if kernel is not None:
        gram = _gram(kernel, xs.reshape(-1, *event), chunk)
        return vendi_of_gram(gram, order=order, weights=weights, quality=quality)
    square = jnp.sum(xs**2, axis=1, keepdims=True)
    unit = jnp.where(square > 0, xs / jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    rows = _root(weights)[:, None] * unit
    if rows.shape[0] > rows.shape[1]:
        rows = rows.T
    matrix = jnp.dot(rows, rows.T, precision="highest")
    trace = jnp.trace(matrix)
    matrix = matrix / jnp.where(trace > 0, trace, 1)
    return _scored(where, matrix, _order(where, order), weights, quality)


def internal_diversity(
    xs: Array, kernel: Callable[[Array, Array], Array], *, chunk: int = 1024
) -> Array:
    """One less the mean similarity of all pairs, [] in [0, 1 - 1/n] for similarities in [0, 1].

    Pairs of a point with itself are counted.

    Args:
        xs: [n, *event].
        kernel: (x [*event], y [*event]) -> [], with kernel(x, x) = 1.
        chunk: rows of pairs made at a time, and dropped.

    Raises ValueError on points that are not finite.
    Source: Friedman and Dieng 2023, arXiv:2210.02410, section 4 (IntDiv of Benhenda 2017,
    arXiv:1708.08227).
    """
    event = jnp.shape(xs)[1:]
    xs, _ = flat("internal_diversity", xs, xs)
    xs = xs.reshape(-1, *event)
    row = lambda x: jnp.mean(jax.vmap(lambda y: kernel(x, y))(xs))
    whole = xs.shape[0] <= chunk
    return 1 - jnp.mean(jax.vmap(row)(xs) if whole else jax.lax.map(row, xs, batch_size=chunk))
