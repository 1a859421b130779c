"""Entropies and informations of Gaussians in closed form, from a covariance.

Variances are first scaled to one, then widened by 256 eps: a singular covariance has a finite value
(that of the same law with that much noise, to a few parts in a hundred) and finite gradients, and a
regular one of condition c is right to 256 c eps.

Source: Cover and Thomas 2006, theorem 8.4.1 and section 8.5.
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics.information._points import finite

Array = jax.Array


def _covariance(where, cov):
    cov = jnp.asarray(cov)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or cov.shape[0] == 0:
        raise ValueError(f"{where}: cov must be a square matrix [d, d]; got shape {cov.shape}")
    if not jnp.issubdtype(cov.dtype, jnp.floating):
        raise ValueError(f"{where}: cov must be of a floating dtype; got {cov.dtype}")
    finite(where, "cov", cov)
    return cov


def _log_det(cov):
    """log det [] of a covariance [d, d], finite on singular ones."""
    d = cov.shape[0]
    info = jnp.finfo(cov.dtype)
    variance = jnp.diagonal(cov)
    least = jnp.sqrt(info.tiny).astype(cov.dtype)
    variance = jnp.where(variance > least, variance, least)
    scale = jnp.sqrt(variance)
    unit = cov / (scale[:, None] * scale[None, :])
    unit = unit - jnp.diag(jnp.diagonal(unit)) + jnp.eye(d, dtype=cov.dtype)
    chol = jnp.linalg.cholesky(unit + 256 * info.eps * jnp.eye(d, dtype=cov.dtype))
    return 2 * jnp.sum(jnp.log(jnp.diagonal(chol))) + jnp.sum(jnp.log(variance))


def _block(cov, *parts):
    keep = jnp.concatenate(parts)
    return cov[keep][:, keep]


def _sizes(where, d, *sizes):
    if any(not isinstance(size, int) or size < 1 for size in sizes) or sum(sizes) >= d:
        raise ValueError(
            f"{where}: the blocks must hold at least one coordinate each and leave one of {d}; "
            f"got {sizes}"
        )


def entropy_gaussian(cov: Array) -> Array:
    """The entropy ½ log det(2πe cov) of a Gaussian in nats, [], from its covariance [d, d].

    Raises ValueError unless cov is a finite square matrix.
    Source: Cover and Thomas 2006, theorem 8.4.1.
    """
    cov = _covariance("entropy_gaussian", cov)
    return (_log_det(cov) + cov.shape[0] * jnp.log(2 * jnp.pi * jnp.e).astype(cov.dtype)) / 2


def mi_gaussian(cov: Array, num_x: int) -> Array:
    """The mutual information in nats, [], of the first num_x coordinates and the others.

    ½ log(det cov_xx det cov_yy / det cov); -½ log(1 - r²) for two of correlation r.

    Args:
        cov: [d, d], the joint covariance.
        num_x: how many coordinates are x, 1 <= num_x < d.

    Raises ValueError unless cov is a finite square matrix and both sides have a coordinate.
    Source: Cover and Thomas 2006, example 8.5.1.
    """
    cov = _covariance("mi_gaussian", cov)
    _sizes("mi_gaussian", cov.shape[0], num_x)
    x, y = jnp.arange(num_x), jnp.arange(num_x, cov.shape[0])
    return (_log_det(_block(cov, x)) + _log_det(_block(cov, y)) - _log_det(cov)) / 2


def cmi_gaussian(cov: Array, num_x: int, num_y: int) -> Array:
    """The information I(x; y | z) of a Gaussian in nats, []; z are the coordinates after x and y.

    Args:
        cov: [d, d], the joint covariance.
        num_x: how many coordinates are x.
        num_y: how many after them are y.

    Raises ValueError unless cov is a finite square matrix and x, y, z have a coordinate each.
    Source: Cover and Thomas 2006, equation 8.64 with theorem 8.4.1.
    """
    cov = _covariance("cmi_gaussian", cov)
    _sizes("cmi_gaussian", cov.shape[0], num_x, num_y)
    x, y = jnp.arange(num_x), jnp.arange(num_x, num_x + num_y)
    z = jnp.arange(num_x + num_y, cov.shape[0])
    given = _log_det(_block(cov, x, z)) + _log_det(_block(cov, y, z))
    return (given - _log_det(_block(cov, z)) - _log_det(cov)) / 2
