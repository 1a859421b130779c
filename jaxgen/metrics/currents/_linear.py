"""The current of an Ornstein-Uhlenbeck process, in closed form.

Source: Godrèche and Luck 2019, arXiv 1807.00694 (out-of-equilibrium Ornstein-Uhlenbeck processes).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import lyapunov

Array = jax.Array


class LinearCurrent(NamedTuple):
    """The stationary law N(0, covariance) of dX = -A X dt + √(2 D) dW and its current."""

    covariance: Array  # [d, d], Σ with A Σ + Σ A^T = 2 D
    precision: Array  # [d, d], so that the score is -precision x
    circulation: Array  # [d, d], V = D Σ⁻¹ - A, so that the velocity is V x
    entropy_production: Array  # [], tr(V^T D⁻¹ V Σ), nats for each unit of time
    shares: Array  # [d], E[v_i (D⁻¹ v)_i], whose sum it is


def linear_current(matrix: Array, diffusion: Array) -> LinearCurrent:
    """The LinearCurrent of dX = -A X dt + √(2 D) dW, A = matrix [d, d], D [], [d] or [d, d].

    D Σ⁻¹ - A = -Q Σ⁻¹ with Q = ½ (A Σ - Σ A^T): all of it is antisymmetric in Q, and reversible
    drifts (A D symmetric) have none.

    Raises ValueError on other shapes, or where matrix is concrete and unstable.
    Source: Godrèche and Luck 2019, arXiv 1807.00694.
    """
    matrix = jnp.asarray(matrix)
    d = matrix.shape[0] if matrix.ndim else 0
    diffusion = jnp.asarray(diffusion, matrix.dtype)
    if matrix.shape != (d, d) or diffusion.shape not in ((), (d,), (d, d)):
        raise ValueError(
            "currents.linear_current: matrix must be [d, d], diffusion [], [d] or [d, d]; "
            f"got shapes {matrix.shape} and {diffusion.shape}"
        )
    eye = jnp.eye(d, dtype=matrix.dtype)
    if diffusion.ndim < 2:
        diffusion = eye * jnp.broadcast_to(diffusion, (d,))[None]
    covariance = lyapunov(matrix, 2 * diffusion)
    covariance = 0.5 * (covariance + covariance.T)
    precision = jnp.linalg.inv(covariance)
    turning = 0.5 * (matrix @ covariance - covariance @ matrix.T)
    circulation = -turning @ precision
    spread = circulation @ covariance @ circulation.T
    shares = jnp.sum(spread * jnp.linalg.solve(diffusion, eye), 1)
    return LinearCurrent(covariance, precision, circulation, jnp.sum(shares), shares)
