"""Gaussian variational inference as proximal gradient descent in the Bures-Wasserstein space.

KL(N(m, Sigma) || exp(-V)) is a smooth part, E V, and the entropy. Each step moves the Gaussian
along the gradient of the first, x -> x - dt (E grad V + E hess V (x - m)), and then takes the
proximal (JKO) step of the second, which is known: Sigma_half = (I - dt / Sigma) Sigma (I - dt /
Sigma), solved for Sigma. So every covariance is at least dt I, and a Gaussian target is a fixed
point whatever dt. Source: Diao, Balasubramanian, Chewi and Salim 2023, arXiv 2304.05398, algorithm
1 and (with draws) 2; the backward step is their equation 6, derived again here.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgen.math import is_concrete


class ForwardBackwardState(NamedTuple):
    """The Gaussian of now. Source: as `forward_backward`."""

    mean: Any  # [*event], any tree
    cov: Any  # [d, d], of the leaves of the mean, flat and in order


class ForwardBackwardInfo(NamedTuple):
    """What a step saw at the Gaussian it left. Source: as `forward_backward`."""

    elbo: Any  # [], nats: E log p + entropy, by the points or draws of the step
    gradient_norm: Any  # [], of the Bures-Wasserstein gradient of the KL: 0 at the optimum
    gradients: int  # evaluations of grad V in this step
    hessians: int  # evaluations of hess V [d, d] in this step
    is_divergent: Any  # [], bool: E log p or the step was not finite, and it was not taken


def forward_backward(
    logdensity_fn, dt, *, points=None, draws=1, antithetic=False, curvature="hessian", cov=1.0
):
    """The Gaussian closest to exp(logdensity_fn) in KL(q || p), as a `VIAlgorithm` of blackjax.

    `init(position)` starts from N(position [*event], cov); `step(rng_key, state) -> (state, info)`;
    `sample(rng_key, state, num_samples) -> [num_samples, *event]`. A step needs E grad V and E hess
    V under the Gaussian, V = -logdensity_fn: exact with points that are, or unbiased from draws.

    Args: logdensity_fn(x [*event], any tree) -> [], twice differentiable; dt, > 0, at most 1 over
        the largest curvature of V; points, a pair (points [n, d], weights [n]) for means over
        N(0, I), such as `cubature(d)`, instead of draws; draws, n of them a step; antithetic: n is
        even and half of the draws are the others mirrored; curvature, "hessian" (d products each)
        or "stein": from gradients alone, E hess V = Sigma^-1 E (x - m) grad V^T, noisy from draws;
        cov, of the start, a number or [d, d].
    Raises ValueError on numbers out of range, points whose weights do not add to 1 or of another
    dimension, and `init` on a log-density that is NaN or +inf at the start.
    Source: Diao et al. 2023, arXiv 2304.05398, algorithms 1 and 2; the second form of the curvature
    is Stein's identity (Price 1958).
    """
    where = "vi.forward_backward"
    count = _check(where, dt, points, draws, antithetic, curvature)

    def init(position):
        flat, _ = ravel_pytree(position)
        start = jnp.asarray(cov, flat.dtype)
        if start.shape not in {(), (flat.size, flat.size)}:
            raise ValueError(f"{where}: cov must be a number or [d, d]; got {start.shape}")
        if points is not None and np.shape(points[0])[1] != flat.size:
            raise ValueError(f"{where}: points must be [n, {flat.size}]; got {np.shape(points[0])}")
        _valid_start(where, logdensity_fn(position), start)
        start = start * jnp.eye(flat.size, dtype=flat.dtype) if start.ndim == 0 else start
        return ForwardBackwardState(position, start)

    def step(rng_key, state):
        mean, unravel = ravel_pytree(state.mean)
        root = jnp.linalg.cholesky(state.cov)
        eps, weights = _noise(rng_key, mean, points, draws, antithetic)
        potential = lambda x: -logdensity_fn(unravel(x))
        value, slope, hessian = _means(potential, mean, root, eps, weights, curvature)
        half_mean = mean - dt * slope
        new = ForwardBackwardState(
            unravel(half_mean.astype(mean.dtype)), _backward(state.cov, hessian, dt)
        )
        log_det = jnp.sum(jnp.log(jnp.diagonal(root)))
        elbo = log_det + mean.size * (1 + math.log(2 * math.pi)) / 2 - value
        spread = hessian @ root - _inverse_transpose(root)
        norm = jnp.sqrt(jnp.sum(slope**2) + jnp.sum(spread**2))
        fine = jnp.all(jnp.isfinite(half_mean)) & jnp.all(jnp.isfinite(new.cov))
        fine = fine & jnp.isfinite(value)
        kept = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, state)
        hessians = count if curvature == "hessian" else 0
        return kept, ForwardBackwardInfo(elbo, norm, count, hessians, ~fine)

    def sample(rng_key, state, num_samples=1):
        mean, unravel = ravel_pytree(state.mean)
        eps = jax.random.normal(rng_key, (num_samples, mean.size), mean.dtype)
        return jax.vmap(lambda e: unravel(mean + jnp.linalg.cholesky(state.cov) @ e))(eps)

    from blackjax.base import VIAlgorithm  # its import starts the devices

    return VIAlgorithm(init, step, sample)


def _check(where, dt, points, draws, antithetic, curvature):
    """How many points a step uses."""
    if is_concrete(dt) and not (np.ndim(dt) == 0 and dt > 0 and np.isfinite(dt)):
        raise ValueError(f"{where}: dt must be a positive number; got {dt}")
    if curvature not in {"hessian", "stein"}:
        raise ValueError(f'{where}: curvature must be "hessian" or "stein"; got {curvature!r}')
    if points is not None:
        at, weights = points
        if np.ndim(at) != 2 or np.shape(weights) != np.shape(at)[:1]:
            raise ValueError(
                f"{where}: points [n, d] and weights [n] must fit; got {np.shape(at)}, "
                f"{np.shape(weights)}"
            )
        if is_concrete(weights) and abs(np.sum(np.asarray(weights, float)) - 1) > 1e-5:
            raise ValueError(f"{where}: weights must add to 1; got {np.sum(weights)}")
        return len(at)
    if not isinstance(draws, int) or draws < 1 or (antithetic and draws % 2):
        raise ValueError(
            f"{where}: draws must be a positive integer, even if antithetic; got {draws}"
        )
    return draws


def _valid_start(where, logdensity, cov):
    if is_concrete(logdensity) and not logdensity < np.inf:
        raise ValueError(
            f"{where}: the log-density must not be NaN or +inf at the start; got {logdensity}"
        )
    if is_concrete(cov):
        held = np.asarray(cov)
        good = np.all(np.isfinite(held)) and np.allclose(held, held.T, rtol=1e-4)
        if not (good and np.min(np.linalg.eigvalsh(np.atleast_2d(held))) > 0):
            raise ValueError(f"{where}: cov must be symmetric and positive definite; got {held}")


def _noise(key, mean, points, draws, antithetic):
    """Standard normal places [n, d] and their weights [n]."""
    if points is not None:
        return jnp.asarray(points[0], mean.dtype), jnp.asarray(points[1], mean.dtype)
    fresh = draws // 2 if antithetic else draws
    eps = jax.random.normal(key, (fresh, mean.size), mean.dtype)
    eps = jnp.concatenate([eps, -eps]) if antithetic else eps
    return eps, jnp.full(draws, 1 / draws, mean.dtype)


def _inverse_transpose(root):
    eye = jnp.eye(len(root), dtype=root.dtype)
    return jax.scipy.linalg.solve_triangular(root, eye, lower=True, trans=1)


def _means(potential, mean, root, eps, weights, curvature):
    """E V [], E grad V [d] and E hess V [d, d] at mean + root eps."""
    xs = mean[None] + eps @ root.T
    values, slopes = jax.vmap(jax.value_and_grad(potential))(xs)
    slope = weights @ slopes
    if curvature == "hessian":
        hessian = jnp.tensordot(weights, jax.vmap(jax.hessian(potential))(xs), 1)
    else:
        # The gradient at the mean changes no mean, as E eps = 0, and takes most of the noise.
        varying = slopes - jax.grad(potential)(mean)[None]
        hessian = _inverse_transpose(root) @ ((weights[:, None] * eps).T @ varying)
        hessian = (hessian + hessian.T) / 2
    return weights @ values, slope, hessian


def _backward(cov, hessian, dt):
    """The next covariance [d, d]: the forward move, then the proximal step of the entropy."""
    move = jnp.eye(len(cov), dtype=cov.dtype) - jnp.asarray(dt, cov.dtype) * hessian
    half = move @ cov @ move
    spectrum, basis = jnp.linalg.eigh((half + half.T) / 2)
    spectrum = jnp.maximum(spectrum, 0)
    # The larger root of s - 2 dt + dt^2 / s = spectrum.
    grown = (spectrum + 2 * dt + jnp.sqrt(spectrum * (spectrum + 4 * dt))) / 2
    return ((basis * grown[None]) @ basis.T).astype(cov.dtype)
