"""Proposals fitted to weighted points by maximum likelihood: a Gaussian, a mixture of them.

The law nearest to a target h in the sense of KL(h, g) over a family maximises the weighted
log-likelihood Σ_i w_i log g(x_i) with w_i = h(x_i) / (the law the points came from).

Source: Rubinstein and Kroese 2004, The Cross-Entropy Method, section 2; Dempster, Laird and Rubin
1977 (mixtures).
"""

import jax
import jax.numpy as jnp

from jaxgen.densities import GaussianMixture, gaussian_mixture
from jaxgen.metrics._clouds import finite
from jaxgen.metrics.importance._estimate import log_weights_of

Array = jax.Array


def _points(where, log_weights, xs):
    log_weights, xs = log_weights_of(where, log_weights), jnp.asarray(xs)
    if xs.ndim != 2 or xs.shape[0] != log_weights.shape[0]:
        raise ValueError(
            f"{where}: xs must be [n, d] with n = {log_weights.shape[0]}; got {xs.shape}"
        )
    finite(where, "xs", xs)
    return jax.nn.softmax(log_weights).astype(xs.dtype), xs


def _moments(shares, xs, floor):
    """The mean [d] and covariance [d, d] of weighted points, with a floor under the variances."""
    mean = shares @ xs
    centred = xs - mean[None]
    cov = centred.T @ (shares[:, None] * centred)
    least = floor * jnp.trace(cov) / xs.shape[1] + jnp.finfo(xs.dtype).tiny ** 0.5
    return mean, cov + least * jnp.eye(xs.shape[1], dtype=xs.dtype)


def _record(shares, means, covs):
    mixture = gaussian_mixture(shares, means, covs)
    return jax.tree.map(lambda leaf: leaf.astype(means.dtype), mixture)


def fit_gaussian(log_weights: Array, xs: Array, *, floor: float = 1e-4) -> GaussianMixture:
    """The Gaussian of most weighted likelihood, as a mixture of one component over [d].

    Args:
        log_weights: [n], up to a constant.
        xs: [n, d].
        floor: added to every variance, as a part of their mean.

    Where all the weight is on one point the covariance is that floor alone: tiny, not singular.
    Raises ValueError on shapes that do not fit or values that are not finite.
    Source: Rubinstein and Kroese 2004, section 2.
    """
    shares, xs = _points("importance.fit_gaussian", log_weights, xs)
    mean, cov = _moments(shares, xs, floor)
    return _record(jnp.ones(1, xs.dtype), mean[None], cov[None])


def fit_mixture(
    key: Array,
    log_weights: Array,
    xs: Array,
    num_components: int,
    *,
    num_steps: int = 30,
    floor: float = 1e-3,
) -> GaussianMixture:
    """A mixture of Gaussians over [d] near most weighted likelihood, by expectation-maximisation.

    Args:
        key: for the first means: distinct points, drawn by their weights.
        log_weights: [n], up to a constant.
        xs: [n, d].
        num_components: k >= 1, at most n.
        num_steps: of expectation-maximisation, each of which raises the likelihood.
        floor: under every variance, as a part of the mean variance of all points.

    Raises ValueError on shapes that do not fit, values that are not finite, or a wrong k.
    Source: Dempster, Laird and Rubin 1977.
    """
    where = "importance.fit_mixture"
    shares, xs = _points(where, log_weights, xs)
    n, d = xs.shape
    if not 1 <= num_components <= n:
        raise ValueError(f"{where}: num_components must be in [1, {n}]; got {num_components}")
    # The largest of log-weights plus Gumbel noise are draws without replacement.
    noisy = jnp.log(jnp.maximum(shares, jnp.finfo(xs.dtype).tiny)) + jax.random.gumbel(
        key, (n,), xs.dtype
    )
    means = xs[jax.lax.top_k(noisy, num_components)[1]]
    _, whole = _moments(shares, xs, floor)
    least = floor * jnp.trace(whole) / d * jnp.eye(d, dtype=xs.dtype)
    covs = jnp.broadcast_to(whole, (num_components, d, d))
    heights = jnp.full(num_components, 1 / num_components, xs.dtype)

    def once(state, _):
        heights, means, covs = state
        log_parts = jax.vmap(_log_normal, (None, 0, 0))(xs, means, covs) + jnp.log(heights)[:, None]
        joint = shares[None] * jax.nn.softmax(log_parts, axis=0)  # [k, n]
        heights = jnp.maximum(jnp.sum(joint, axis=1), jnp.finfo(xs.dtype).eps)
        parts = joint / heights[:, None]
        means = parts @ xs
        spread = xs[None] - means[:, None]
        covs = jnp.einsum("kn,knd,kne->kde", parts, spread, spread) + least[None]
        return (heights / jnp.sum(heights), means, covs), None

    (heights, means, covs), _ = jax.lax.scan(once, (heights, means, covs), None, num_steps)
    return _record(heights, means, covs)


def _log_normal(xs, mean, cov):
    """The log-density [n] of N(mean, cov) at xs [n, d], up to the constant that all share."""
    factor = jnp.linalg.cholesky(cov)
    white = jax.scipy.linalg.solve_triangular(factor, (xs - mean[None]).T, lower=True)
    return -0.5 * jnp.sum(white**2, axis=0) - jnp.sum(jnp.log(jnp.diag(factor)))
