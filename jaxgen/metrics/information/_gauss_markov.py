"""Prediction and way-points from contrastive representations, in closed form.

A critic f(x, x') = -½ |A ψ(x) - ψ(x')|² at the optimum of the symmetrised InfoNCE is the log-ratio
log p(x' | x) / p(x') up to c(x). With representations ψ ~ N(0, c I) (they are held to E|ψ|² = c k)

    p(ψ' | ψ)       = N(c/(c+1) A ψ, c/(c+1) I),
    p(ψ_w | ψ0, ψ') = N(Σ (Aᵀ ψ' + A ψ0), Σ),   Σ⁻¹ = (c+1)/c I + c/(c+1) Aᵀ A.

A chain of several way-points has the same blocks, and -Aᵀ beside them. The chain is stationary, and
these laws are those of an exact joint, when Aᵀ A = (c+1)/c I.

Source: Eysenbach et al. 2024, arXiv:2403.04082, re-derived.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.information._points import positive

Array = jax.Array


class GaussianLaw(NamedTuple):
    """The mean and the covariance of a Gaussian."""

    mean: Array  # [k], or [num, k] of several
    cov: Array  # [k, k], or [num, k, k] of each


def _check(where, matrix, variance, *psis):
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{where}: matrix must be [k, k]; got shape {matrix.shape}")
    for psi in psis:
        if jnp.shape(psi) != matrix.shape[:1]:
            raise ValueError(
                f"{where}: representations must be [{matrix.shape[0]}]; got {jnp.shape(psi)}"
            )
    positive(where, "variance", variance)
    return matrix


def predict_representation(psi: Array, matrix: Array, variance: float) -> GaussianLaw:
    """The law of the next representation given this one: GaussianLaw(mean [k], cov [k, k]).

    Args:
        psi: [k].
        matrix: A [k, k] of the critic -½ |A ψ - ψ'|².
        variance: c [], of every coordinate of a representation.

    Raises ValueError on shapes that do not fit, or variance <= 0.
    Source: Eysenbach et al. 2024, arXiv:2403.04082.
    """
    matrix = _check("predict_representation", matrix, variance, psi)
    shrink = variance / (variance + 1)
    mean = shrink * jnp.matmul(matrix, psi, precision="highest")
    return GaussianLaw(mean, shrink * jnp.eye(matrix.shape[0], dtype=mean.dtype))


def waypoints(
    start: Array, end: Array, matrix: Array, variance: float, *, num: int = 1
) -> GaussianLaw:
    """The laws of num representations between two: GaussianLaw(mean [num, k], cov [num, k, k]).

    One block elimination there and back (Thomas), of cost num k³.

    Args:
        start: [k].
        end: [k], num + 1 steps later.
        matrix: A [k, k].
        variance: c [].
        num: how many lie between, a positive integer.

    Raises ValueError on shapes that do not fit, variance <= 0 or num below 1.
    Source: Eysenbach et al. 2024, arXiv:2403.04082.
    """
    matrix = _check("waypoints", matrix, variance, start, end)
    if not isinstance(num, int) or num < 1:
        raise ValueError(f"waypoints: num must be a positive integer; got {num!r}")
    k = matrix.shape[0]
    dot = lambda a, b: jnp.matmul(a, b, precision="highest")
    eye = jnp.eye(k, dtype=jnp.result_type(matrix, start, end))
    block = (variance + 1) / variance * eye + variance / (variance + 1) * dot(matrix.T, matrix)
    pull = jnp.zeros((num, k), eye.dtype).at[0].add(dot(matrix, start))
    pull = pull.at[-1].add(dot(matrix.T, end))
    solve = jnp.linalg.solve

    def forward(carry, here):
        # What is known from the left: precision `seen` and its linear term `shift`.
        seen, shift = carry
        known = here + dot(matrix, solve(seen, shift))
        this = block - dot(matrix, solve(seen, matrix.T))
        return (this, known), (this, known)

    (_, _), (rest, shifts) = jax.lax.scan(forward, (block, pull[0]), pull[1:])
    seen = jnp.concatenate([block[None], rest])
    shifts = jnp.concatenate([pull[:1], shifts])

    def backward(carry, here):
        mean, cov = carry
        precision, shift = here
        gain = solve(precision, matrix.T)
        mean = solve(precision, shift + dot(matrix.T, mean))
        cov = solve(precision, eye) + dot(gain, dot(cov, gain.T))
        return (mean, cov), (mean, cov)

    last = solve(seen[-1], shifts[-1]), solve(seen[-1], eye)
    _, (means, covs) = jax.lax.scan(backward, last, (seen[:-1], shifts[:-1]), reverse=True)
    return GaussianLaw(
        jnp.concatenate([means, last[0][None]]), jnp.concatenate([covs, last[1][None]])
    )
