"""The continuous Lyapunov equation, by doubling: matrix products and solves, on any device."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math._host import is_concrete

_DOUBLINGS = 40  # for spectra spread over a factor of about 1e11


def lyapunov(matrix, rhs):
    """The X [d, d] with A X + X A^T = Q, for A = matrix [d, d] and Q = rhs [d, d].

    The stationary covariance of dx = -A x dt + C dw with Q = C C^T. The eigenvalues of A must have
    positive real parts. By Cayley's transform, for any q > 0,
    X = S X S^T + 2 q B Q B^T with B = (A + q)^-1, S = B (A - q), whose series is summed by
    doubling.

    Args: matrix, rhs [d, d], in one floating dtype. Raises ValueError on other shapes, and where
    matrix is concrete and unstable; traced and unstable, nan comes back.
    Source: Smith 1968, SIAM J. Appl. Math. 16(1) (doubling); q, between the largest and smallest
    scale of A, is a choice.
    """
    matrix, rhs = jnp.asarray(matrix), jnp.asarray(rhs)
    d = matrix.shape[0] if matrix.ndim else 0
    if d == 0 or matrix.shape != (d, d) or rhs.shape != (d, d):
        raise ValueError(
            "math.lyapunov: matrix and rhs must be [d, d]; "
            f"got shapes {matrix.shape} and {rhs.shape}"
        )
    if is_concrete(matrix):
        slowest = np.min(np.linalg.eigvals(np.asarray(matrix)).real)
        if not slowest > 0:
            raise ValueError(
                "math.lyapunov: eigenvalues of matrix must have positive real parts; "
                f"got {slowest:.3g}"
            )
    eye = jnp.eye(d, dtype=matrix.dtype)
    size = lambda a: jnp.max(jnp.sum(jnp.abs(a), 1))
    q = jax.lax.stop_gradient(jnp.sqrt(size(matrix) / size(jnp.linalg.inv(matrix))))
    shifted = matrix + q * eye
    step = jnp.linalg.solve(shifted, matrix - q * eye)
    first = jnp.linalg.solve(shifted, jnp.linalg.solve(shifted, rhs).T).T
    first = 2 * q * first

    def double(carry, _):
        found, power = carry
        return (found + power @ found @ power.T, power @ power), None

    (found, power), _ = jax.lax.scan(double, (first, step), None, length=_DOUBLINGS)
    return jnp.where(jnp.all(jnp.abs(power) < 1), found, jnp.nan)
