"""Control variates for means over directions: what a slice resembles, with a known mean.

    estimate = mean W - beta . (mean C - E C),  beta from regressing W on C, both about their means

About their means, not about E C: so the estimate is exact wherever W is linear in C. The regressed
beta costs a bias of order 1/L for L directions; taken from the other half of the directions it
costs none.

Sources: Nguyen and Ho 2024, arXiv:2305.00402, Sliced Wasserstein estimation with control variates
(lower, upper); Leluc et al. 2024, arXiv:2402.01493, Sliced-Wasserstein estimation with spherical
harmonics as control variates. Deviations: centring by the samples' means (their code's is by the
known mean); |θᵀ m|^p for the lower one, so that a translation is exact at every p; "gaussian".
"""

import math

import jax
import jax.numpy as jnp

from jaxgen.math import count_harmonics, harmonics
from jaxgen.metrics._gaussian_sliced import gaussian_sliced

KINDS = ("lower", "upper", "gaussian", "harmonics")


def _moments(x, weight):
    mean = jnp.mean(x, axis=0) if weight is None else weight @ x
    x = x - mean[None]
    each = x / x.shape[0] if weight is None else x * weight[:, None]
    return mean, jnp.dot(x.T, each, precision="highest")


def _quadratic(direction, cov):
    return jnp.sum(jnp.dot(direction, cov, precision="highest") * direction, axis=1)


def _root(x):
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def of_clouds(kind, direction, xs, ys, weights, p):
    """A control variate of two clouds at directions [l, d]: values [l, 1] and their mean [1]."""
    d = direction.shape[1]
    (mean_x, cov_x), (mean_y, cov_y) = _moments(xs, weights[0]), _moments(ys, weights[1])
    gap = mean_x - mean_y
    along, square = jnp.dot(direction, gap, precision="highest"), jnp.sum(gap**2)
    if kind == "lower":
        # E |θ_1|^p on the sphere in R^d; 1/d at p = 2.
        log_mean = math.lgamma(d / 2) + math.lgamma((p + 1) / 2)
        log_mean -= math.lgamma((d + p) / 2) + math.log(math.pi) / 2
        values = jnp.abs(along) ** p
        mean = _root(square) ** p * math.exp(log_mean)
    elif kind == "upper":
        values = along**2 + _quadratic(direction, cov_x) + _quadratic(direction, cov_y)
        mean = (square + jnp.trace(cov_x) + jnp.trace(cov_y)) / d
    else:
        roots = [_root(_quadratic(direction, cov)) for cov in (cov_x, cov_y)]
        values = along**2 + (roots[0] - roots[1]) ** 2
        mean = gaussian_sliced(mean_x, cov_x, mean_y, cov_y)
    return values[:, None], jnp.reshape(mean, (1,))


def harmonic_degree(where, d, num, degree):
    """The highest even degree: the given one, or as high as leaves four directions a harmonic."""
    total = lambda top: sum(count_harmonics(d, l) for l in range(2, top + 1, 2))
    if degree is None:
        degree = 2
        while d > 1 and total(degree + 2) * 4 <= num:
            degree += 2
    if not isinstance(degree, int) or degree < 2 or degree % 2:
        raise ValueError(f"{where}: degree must be an even integer, 2 or more; got {degree!r}")
    if d > 1 and total(degree) * 2 > num:
        raise ValueError(
            f"{where}: {total(degree)} harmonics need twice as many directions to regress on"
            f" (half of num_projections each, if split); got {num}"
        )
    return degree


def of_sphere(direction, degree):
    """Spherical harmonics of degrees 2, 4, ..., degree at directions [l, d]: [l, k], and zeros."""
    if direction.shape[1] == 1:  # no direction differs from another
        return jnp.zeros((direction.shape[0], 1), direction.dtype), jnp.zeros(1, direction.dtype)
    values = harmonics(direction, tuple(range(2, degree + 1, 2)))
    return values, jnp.zeros(values.shape[1], values.dtype)


def coefficients(values, controls):
    """beta [k] of the least-squares fit of values [l] on controls [l, k], both centred.

    0 for a single control that does not vary.
    """
    values = values - jnp.mean(values)
    size = jnp.max(jnp.abs(controls))
    controls = controls - jnp.mean(controls, axis=0, keepdims=True)
    if controls.shape[1] > 1:
        q, r = jnp.linalg.qr(controls)
        return jax.scipy.linalg.solve_triangular(r, q.T @ values, lower=False)
    square = jnp.sum(controls**2)
    rounding = (8 * jnp.finfo(values.dtype).eps * size) ** 2 * controls.shape[0]
    varies = square > jax.lax.stop_gradient(rounding)
    return jnp.where(varies, controls.T @ values / jnp.where(varies, square, 1), 0)
