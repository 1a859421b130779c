"""A mixture of Gaussians observed through a linear Gaussian channel is a mixture again, and a
mixture as rows of numbers, which networks read and write.
"""

import math

import jax
import jax.numpy as jnp

from jaxgen.densities import _dense
from jaxgen.densities._mixture import gaussian_mixture
from jaxgen.types import Distribution


def linear_posterior(mixture, reading, noise, y):
    """(posterior, log_evidence): the exact law of x [d] given y = reading x + N(0, noise), a
    mixture of as many components, and log p(y) [] in nats.

    Args: reading [m, d]; noise [m], variances, or [m, m], a covariance; y [m]. Far from all
    components the weights stay finite. Raises ValueError on shapes that do not fit. Source:
    derived (Gaussian conditioning, component by component).
    """
    reading, noise, y = (jnp.asarray(each) for each in (reading, noise, y))
    m, d = reading.shape if reading.ndim == 2 else (None, None)
    if m is None or d != mixture.means.shape[1] or noise.shape not in {(m,), (m, m)}:
        raise ValueError(
            "densities.linear_posterior: reading [m, d], noise [m] or [m, m] and means [k, d] must "
            f"fit; got {reading.shape}, {noise.shape}, {mixture.means.shape}"
        )
    if y.shape != (m,):
        raise ValueError(f"densities.linear_posterior: y must be [{m}]; got {y.shape}")
    means, covs = mixture.means, _dense.covariances(mixture, mixture.means.dtype)
    spread = noise if noise.ndim == 2 else jnp.diag(noise)
    heard = jnp.einsum("mi,kij,nj->kmn", reading, covs, reading) + spread[None]
    roots = jnp.linalg.cholesky(heard)
    solve = lambda right: jax.scipy.linalg.solve_triangular(roots, right, lower=True)
    white = solve((y[None] - means @ reading.T)[..., None])[..., 0]
    pulled = solve(jnp.einsum("mi,kij->kmj", reading, covs))
    log_det = jnp.sum(jnp.log(jnp.diagonal(roots, axis1=-2, axis2=-1)), -1)
    logs = mixture.log_weights - jnp.sum(white**2, -1) / 2 - log_det
    logs = logs - m * math.log(2 * math.pi) / 2
    evidence = jax.nn.logsumexp(logs)
    centres = means + jnp.einsum("kmi,km->ki", pulled, white)
    left = covs - jnp.einsum("kmi,kmj->kij", pulled, pulled)
    record = gaussian_mixture(jnp.ones_like(logs), centres, left)
    return record._replace(log_weights=logs - evidence), evidence


def mixture_rows(mixture):
    """The mixture as rows [k, 1 + d + d (d + 1) / 2], one a component, for networks that read sets:
    log weight, mean [d], log diagonal [d] of the Cholesky factor, and its lower part, each row in
    units of its diagonal.

    A permutation of components is one of rows. Needs covariances of full rank. Source: derived;
    after Whittle et al. 2025, arXiv 2502.02463.
    """
    roots = jnp.linalg.cholesky(_dense.covariances(mixture, mixture.means.dtype))
    diagonal = jnp.diagonal(roots, axis1=-2, axis2=-1)
    below = jnp.tril_indices(mixture.means.shape[1], -1)
    lower = (roots / diagonal[:, :, None])[:, below[0], below[1]]
    parts = [mixture.log_weights[:, None], mixture.means, jnp.log(diagonal), lower]
    return jnp.concatenate(parts, 1)


def rows_mixture(rows):
    """The `GaussianMixture` over [d] of rows [k, 1 + d + d (d + 1) / 2] as `mixture_rows` makes
    them; weights need not be normalised.

    For gradients with respect to the rows use `rows_distribution`, which takes no eigenvectors.
    Raises ValueError on another number of columns. Source: as `mixture_rows`.
    """
    log_weights, means, roots = _parts(rows)
    covs = roots @ jnp.swapaxes(roots, -1, -2)
    record = gaussian_mixture(jnp.ones_like(log_weights), means, covs)
    return record._replace(log_weights=log_weights)


def rows_distribution(rows):
    """The `Distribution` over [d] of rows [k, 1 + d + d (d + 1) / 2] as `mixture_rows` makes them;
    its log-density, in nats, has gradients with respect to the rows everywhere.

    Raises ValueError as `rows_mixture`. Source: as `mixture_rows`.
    """
    log_weights, means, roots = _parts(rows)

    def sample(key):
        key_part, key_noise = jax.random.split(key)
        k = jax.random.categorical(key_part, log_weights)
        return means[k] + roots[k] @ jax.random.normal(key_noise, means.shape[1:], means.dtype)

    def logdensity(x):
        away = (x[None] - means)[..., None]
        white = jax.scipy.linalg.solve_triangular(roots, away, lower=True)[..., 0]
        log_det = jnp.sum(jnp.log(jnp.diagonal(roots, axis1=-2, axis2=-1)), -1)
        log_normal = -jnp.sum(white**2, -1) / 2 - log_det
        return jax.nn.logsumexp(log_weights + log_normal) - x.size * math.log(2 * math.pi) / 2

    return Distribution(sample, logdensity)


def _parts(rows):
    """Normalised log-weights [k], means [k, d] and Cholesky factors [k, d, d] of rows."""
    rows = jnp.asarray(rows)
    d = (math.isqrt(1 + 8 * rows.shape[1]) - 3) // 2 if rows.ndim == 2 else 0
    if d < 1 or rows.shape[1] != 1 + d + d * (d + 1) // 2:
        raise ValueError(
            f"densities.rows_mixture: rows must be [k, 1 + d + d (d + 1) / 2]; got {rows.shape}"
        )
    log_weights = jax.nn.log_softmax(rows[:, 0])
    means, scales = rows[:, 1 : 1 + d], jnp.exp(rows[:, 1 + d : 1 + 2 * d])
    below = jnp.tril_indices(d, -1)
    unit = jnp.broadcast_to(jnp.eye(d, dtype=rows.dtype), (len(rows), d, d))
    unit = unit.at[:, below[0], below[1]].set(rows[:, 1 + 2 * d :])
    return log_weights, means, scales[:, :, None] * unit
