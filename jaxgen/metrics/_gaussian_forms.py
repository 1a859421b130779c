"""What other distances are on two Gaussians: truths for estimators, and fits of two samples.

All are closed forms but the energy distance, an integral over t > 0,

    |z| = π^-½ ∫ |z|² exp(-t |z|²) t^-½ dt,

whose mean over a Gaussian z is a trapezoidal sum in log t. That converges geometrically; the near
end, where the integrand is √t, is summed exactly.

Sources: Kullback 1959; Bhattacharyya 1943; Muandet et al. 2012, arXiv:1202.6504 (Gaussian
embeddings); Székely and Rizzo 2013; the integral from the definition of the gamma function.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._gaussian import gaussians

Array = jax.Array


def _positive_definite(where, **covs):
    for name, cov in covs.items():
        if not isinstance(cov, jax.core.Tracer):
            least = float(np.linalg.eigvalsh(np.asarray(cov))[0])
            if not least > 0:
                raise ValueError(f"{where}: {name} must be positive definite; got {least:.2e}")


def _log_det(cov):
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(cov))))


def _solve(cov, x):
    """cov⁻¹ x for x [d] or [d, k]."""
    lower = jnp.linalg.cholesky(cov)
    half = jax.scipy.linalg.solve_triangular(lower, x, lower=True)
    return jax.scipy.linalg.solve_triangular(lower.T, half, lower=False)


def gaussian_kl(mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array) -> Array:
    """The Kullback-Leibler divergence of the first Gaussian from the second, [] >= 0, in nats.

    E_x log p_x / p_y; not symmetric.

    Args:
        mean_x: [d].
        cov_x: [d, d], positive definite.
        mean_y: [d].
        cov_y: [d, d], positive definite.

    Raises ValueError where shapes disagree or a concrete covariance is not positive definite.
    Source: Kullback 1959, Information theory and statistics, chapter 9, equation 1.2.
    """
    where = "gaussian_kl"
    mean_x, cov_x, mean_y, cov_y = gaussians(where, mean_x, cov_x, mean_y, cov_y)
    _positive_definite(where, cov_x=cov_x, cov_y=cov_y)
    gap = mean_y - mean_x
    square = jnp.vdot(gap, _solve(cov_y, gap)) + jnp.trace(_solve(cov_y, cov_x))
    return (square - gap.shape[0] + _log_det(cov_y) - _log_det(cov_x)) / 2


def gaussian_hellinger2(mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array) -> Array:
    """The squared Hellinger distance of two Gaussians, 1 - ∫ √(p q), [] in [0, 1].

    The Bhattacharyya distance is -log(1 - it).

    Args:
        mean_x: [d].
        cov_x: [d, d], positive definite.
        mean_y: [d].
        cov_y: [d, d], positive definite.

    Raises ValueError where shapes disagree or a concrete covariance is not positive definite.
    Source: Bhattacharyya 1943; Kailath 1967, equation 61.
    """
    where = "gaussian_hellinger2"
    mean_x, cov_x, mean_y, cov_y = gaussians(where, mean_x, cov_x, mean_y, cov_y)
    _positive_definite(where, cov_x=cov_x, cov_y=cov_y)
    gap, middle = mean_x - mean_y, (cov_x + cov_y) / 2
    log_ratio = (_log_det(cov_x) + _log_det(cov_y)) / 2 - _log_det(middle)
    return -jnp.expm1(log_ratio / 2 - jnp.vdot(gap, _solve(middle, gap)) / 8)


def gaussian_mmd2(
    mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array, *, bandwidth: float = 1.0
) -> Array:
    """The squared MMD of two Gaussians under `kernels.rbf(bandwidth)`, [] in [0, 2].

    Args:
        mean_x: [d].
        cov_x: [d, d]; may be singular.
        mean_y: [d].
        cov_y: [d, d]; may be singular.
        bandwidth: of exp(-|x - y|² / (2 bandwidth²)), in units of x.

    Raises ValueError where shapes disagree or the bandwidth is not positive.
    Source: Muandet et al. 2012, arXiv:1202.6504, table 1.
    """
    where = "gaussian_mmd2"
    mean_x, cov_x, mean_y, cov_y = gaussians(where, mean_x, cov_x, mean_y, cov_y)
    if not isinstance(bandwidth, jax.core.Tracer) and not bandwidth > 0:
        raise ValueError(f"{where}: bandwidth must be positive; got {bandwidth}")
    square = jnp.asarray(bandwidth, mean_x.dtype) ** 2
    eye = jnp.eye(mean_x.shape[0], dtype=mean_x.dtype)

    def mean_kernel(gap, cov):
        wide = eye + cov / square
        return jnp.exp(-_log_det(wide) / 2 - jnp.vdot(gap, _solve(wide, gap)) / (2 * square))

    gap = mean_x - mean_y
    inside = mean_kernel(0 * gap, 2 * cov_x) + mean_kernel(0 * gap, 2 * cov_y)
    return inside - 2 * mean_kernel(gap, cov_x + cov_y)


def _mean_norm(mean, cov):
    """E|z| for z ~ N(mean, cov), []."""
    square = jnp.vdot(mean, mean) + jnp.trace(cov)
    scale = jnp.where(square > 0, square, 1)
    mean, cov = mean / jnp.sqrt(scale), cov / scale
    eye = jnp.eye(mean.shape[0], dtype=mean.dtype)
    step, low = 0.4, -18.0

    def node(log_t):
        t = jnp.exp(log_t)
        wide = eye + 2 * t * cov
        solved = _solve(wide, jnp.concatenate([mean[:, None], cov], axis=1))
        size = jnp.trace(solved[:, 1:]) + jnp.vdot(solved[:, 0], solved[:, 0])
        decay = -_log_det(wide) / 2 - t * jnp.vdot(mean, solved[:, 0])
        return jnp.exp(decay + log_t / 2) * size

    nodes = jnp.asarray(np.arange(low, 26.0, step), mean.dtype)
    below = step * math.exp(low / 2) / math.expm1(step / 2)  # there size is 1, and nothing decays
    whole = step * jnp.sum(jax.vmap(node)(nodes)) + below
    return jnp.where(square > 0, jnp.sqrt(scale / math.pi) * whole, 0)


def gaussian_energy_distance(mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array) -> Array:
    """The energy distance of two Gaussians, 2 E|x - y| - E|x - x'| - E|y - y'|, [], in units of x.

    An integral over a line, good to 1e-8.

    Args:
        mean_x: [d].
        cov_x: [d, d]; may be singular.
        mean_y: [d].
        cov_y: [d, d]; may be singular.

    Raises ValueError where shapes disagree or concrete values are not finite or not symmetric.
    Source: Székely and Rizzo 2013, section 2; E|z| by the integral in the head of this file.
    """
    where = "gaussian_energy_distance"
    mean_x, cov_x, mean_y, cov_y = gaussians(where, mean_x, cov_x, mean_y, cov_y)
    zero = jnp.zeros_like(mean_x)
    apart = _mean_norm(mean_x - mean_y, cov_x + cov_y)
    return 2 * apart - _mean_norm(zero, 2 * cov_x) - _mean_norm(zero, 2 * cov_y)
