"""Shifts and triangular matrices: standardising data, and whitening it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.flows._record import Flow
from jaxgen.math import is_concrete


def affine(shift, scale, *, learn=True):
    """The Flow x [d] -> z = scale^-1 (x - shift), log-determinant in nats.

    With the mean and the standard deviations of data it standardises them; with the Cholesky factor
    of their covariance it whitens them, so that a chain with fresh layers is the Gaussian fit.

    Args: shift [d]; scale [d], positive, or [d, d], lower triangular with a positive diagonal;
        learn: these numbers are where the parameters start, otherwise they stay (params is empty).
    Raises ValueError on shapes that do not fit and on concrete scales that are not positive or not
    triangular.
    Source: definition; the triangular layer is that of Kingma and Dhariwal 2018, arXiv 1807.03039,
    section 3.2, without its upper factor.
    """
    _check(shift, scale)
    diagonal = jnp.ndim(scale) == 1

    def start():
        shift_, scale_ = jnp.asarray(shift), jnp.asarray(scale)
        if diagonal:
            return {"shift": shift_, "log_scale": jnp.log(scale_)}
        log_scale = jnp.log(jnp.diagonal(scale_))
        return {"shift": shift_, "log_scale": log_scale, "lower": jnp.tril(scale_, -1)}

    def numbers(params, dtype):
        params = jax.tree.map(lambda each: each.astype(dtype), params if learn else start())
        factor = jnp.exp(params["log_scale"])
        if not diagonal:
            factor = jnp.tril(params["lower"], -1) + jnp.diag(factor)
        return params["shift"], factor, jnp.sum(params["log_scale"])

    def forward(params, x, **cond):
        shift, factor, log_det = numbers(params, x.dtype)
        if diagonal:
            return (x - shift) / factor, -log_det
        return jax.scipy.linalg.solve_triangular(factor, x - shift, lower=True), -log_det

    def inverse(params, z, **cond):
        shift, factor, log_det = numbers(params, z.dtype)
        return shift + (factor * z if diagonal else factor @ z), log_det

    return Flow(lambda key: start() if learn else {}, forward, inverse)


def _check(shift, scale):
    name, d = "flows.affine", np.size(shift)
    if np.ndim(shift) != 1 or np.shape(scale) not in {(d,), (d, d)}:
        raise ValueError(
            f"{name}: shift [d] and scale [d] or [d, d] must fit; "
            f"got {np.shape(shift)} and {np.shape(scale)}"
        )
    if not is_concrete(scale):
        return
    scale = np.asarray(scale)
    diagonal = scale if scale.ndim == 1 else np.diagonal(scale)
    if not np.all(diagonal > 0):
        raise ValueError(f"{name}: scales must be positive; got {diagonal.min()}")
    if scale.ndim == 2 and np.any(np.triu(scale, 1)):
        raise ValueError(f"{name}: a matrix must be lower triangular; got entries above it")
