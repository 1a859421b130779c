"""The 2-Wasserstein distance between Gaussians, and between the Gaussians that fit two samples.

    W_2²(N(m, A), N(n, B)) = |m - n|² + tr A + tr B - 2 tr (A^½ B A^½)^½

The last trace is the sum of singular values of F Gᵀ for any factors A = Fᵀ F, B = Gᵀ G. Taking
those instead of the square root of a product keeps full precision where a covariance is singular:
samples are never squared, and `frechet` of n points in more than n dimensions is exact. The
derivatives are written out (the transport map), so that equal eigenvalues and lost ranks give
finite ones.

Sources: Dowson and Landau 1982, The Fréchet distance between multivariate normal distributions;
Takatsu 2011, arXiv:0801.2250; Heusel et al. 2017, arXiv:1706.08500, equation 6 (on features).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._clouds import finite, flat

Array = jax.Array


def _factor(cov):
    """F [d, d] with Fᵀ F = cov, its pseudo-inverse; eigenvalues at rounding level count as 0."""
    values, vectors = jnp.linalg.eigh(cov)
    floor = values.shape[0] * jnp.finfo(cov.dtype).eps * jnp.max(jnp.abs(values))
    kept = values > floor
    root = jnp.where(kept, jnp.sqrt(jnp.where(kept, values, 1)), 0)
    inverse = jnp.where(kept, 1 / jnp.where(kept, root, 1), 0)
    return root[:, None] * vectors.T, vectors * inverse[None, :]


@jax.custom_jvp
def _cross_of_covariances(cov_x, cov_y):
    """The trace of (A^½ B A^½)^½ for A = cov_x, B = cov_y [d, d]."""
    product = _factor(cov_x)[0] @ _factor(cov_y)[0].T
    return jnp.sum(jnp.linalg.svd(product, compute_uv=False))


@_cross_of_covariances.defjvp
def _cross_of_covariances_jvp(primals, tangents):
    (f, f_inverse), (g, g_inverse) = map(_factor, primals)
    u, s, v = jnp.linalg.svd(f @ g.T)
    to_y, to_x = f_inverse @ u @ v @ g, g_inverse @ v.T @ u.T @ f  # the optimal maps, [d, d]
    return jnp.sum(s), 0.5 * (jnp.vdot(to_y, tangents[0]) + jnp.vdot(to_x, tangents[1]))


@jax.custom_jvp
def _cross_of_samples(xs, ys):
    """The sum of singular values of xs ysᵀ, from the triangular factors of xs [n, d], ys [m, d]."""
    product = jnp.linalg.qr(xs, mode="r") @ jnp.linalg.qr(ys, mode="r").T
    return jnp.sum(jnp.linalg.svd(product, compute_uv=False))


@_cross_of_samples.defjvp
def _cross_of_samples_jvp(primals, tangents):
    (q_x, r_x), (q_y, r_y) = map(jnp.linalg.qr, primals)
    u, s, v = jnp.linalg.svd(r_x @ r_y.T, full_matrices=False)
    change = q_x.T @ tangents[0] @ r_y.T + r_x @ (q_y.T @ tangents[1]).T
    return jnp.sum(s), jnp.vdot(u @ v, change)


def gaussians(where: str, mean_x, cov_x, mean_y, cov_y) -> tuple[Array, Array, Array, Array]:
    """Two Gaussians' means [d] and covariances [d, d] as arrays of one dtype.

    Raises ValueError where shapes disagree or concrete values are not finite or not symmetric.
    """
    mean_x, cov_x, mean_y, cov_y = map(jnp.asarray, (mean_x, cov_x, mean_y, cov_y))
    d = mean_x.shape[0] if mean_x.ndim == 1 else -1
    if d < 1 or mean_y.shape != (d,) or cov_x.shape != (d, d) or cov_y.shape != (d, d):
        shapes = [a.shape for a in (mean_x, cov_x, mean_y, cov_y)]
        raise ValueError(f"{where}: means must be [d] and covariances [d, d]; got {shapes}")
    for name, x in (("mean_x", mean_x), ("cov_x", cov_x), ("mean_y", mean_y), ("cov_y", cov_y)):
        finite(where, name, x)
    for name, cov in (("cov_x", cov_x), ("cov_y", cov_y)):
        if not isinstance(cov, jax.core.Tracer):
            cov = np.asarray(cov)
            off = float(np.max(np.abs(cov - cov.T)))
            if off > 1e-4 * float(np.max(np.abs(cov))):
                raise ValueError(f"{where}: {name} must be symmetric; off by {off:.2e}")
    dtype = jnp.result_type(mean_x, cov_x, mean_y, cov_y, jnp.float32)
    return tuple(x.astype(dtype) for x in (mean_x, cov_x, mean_y, cov_y))


def gaussian_distance(mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array) -> Array:
    """The squared 2-Wasserstein (Bures) distance between two Gaussians, [], in squared units of x.

    Args:
        mean_x: the first mean, [d].
        cov_x: the first covariance, [d, d], symmetric, eigenvalues >= 0; may be singular.
        mean_y: the second mean, [d].
        cov_y: the second covariance, [d, d].

    Raises ValueError where shapes disagree or concrete values are not finite or not symmetric.
    Negative rounding (a few eps of the traces) is set to 0. At a singular covariance the gradient
    is that of the directions it spans.
    Source: Dowson and Landau 1982; Takatsu 2011, arXiv:0801.2250.
    """
    mean_x, cov_x, mean_y, cov_y = gaussians("gaussian_distance", mean_x, cov_x, mean_y, cov_y)
    cross = _cross_of_covariances(cov_x, cov_y)
    spread = jnp.trace(cov_x) + jnp.trace(cov_y) - 2 * cross
    return jnp.sum((mean_x - mean_y) ** 2) + jnp.maximum(spread, 0)


def _of_fits(xs, ys):
    """The distance between the Gaussians fitted to xs [n, d] and ys [m, d]."""
    mean_x, mean_y = jnp.mean(xs, axis=0), jnp.mean(ys, axis=0)
    xs = (xs - mean_x[None]) / jnp.sqrt(jnp.asarray(xs.shape[0] - 1, xs.dtype))
    ys = (ys - mean_y[None]) / jnp.sqrt(jnp.asarray(ys.shape[0] - 1, ys.dtype))
    spread = jnp.sum(xs**2) + jnp.sum(ys**2) - 2 * _cross_of_samples(xs, ys)
    return jnp.sum((mean_x - mean_y) ** 2) + jnp.maximum(spread, 0)


def frechet(xs: Array, ys: Array, *, extrapolate: bool = False) -> Array:
    """The squared 2-Wasserstein distance, [], between the Gaussians fitted to two samples.

    Means and covariances are the samples' own (divisor n - 1). On features of a network this is the
    Fréchet distance of generative modelling. It is biased upward by an amount that falls about as
    1/n and depends on the law: state n, and compare at equal n only, or extrapolate to 1/n = 0.
    Rank-deficient samples (n <= d, constant columns) are fine.

    Args:
        xs: [n, *event], n >= 2, or 4 to extrapolate.
        ys: [m, *event], m >= 2, or 4 to extrapolate.
        extrapolate: twice the value less the mean value of the two halves of both samples (the
            first points, and the last): what is left of the bias falls faster than 1/n; the spread
            grows, and the answer may be negative. The points must come in no particular order.

    Raises ValueError on unequal event shapes, too few points or concrete non-finite values.
    Source: Heusel et al. 2017, arXiv:1706.08500, equation 6; Chong and Forsyth 2020,
    arXiv:1911.07023 (the extrapolation; deviation: two sizes, both samples halved, where the paper
    fits a line to fifteen sizes of one).
    """
    xs, ys = flat("frechet", xs, ys, least=4 if extrapolate else 2)
    whole = _of_fits(xs, ys)
    if not extrapolate:
        return whole
    n, m = xs.shape[0] // 2, ys.shape[0] // 2
    return 2 * whole - (_of_fits(xs[:n], ys[:m]) + _of_fits(xs[-n:], ys[-m:])) / 2
