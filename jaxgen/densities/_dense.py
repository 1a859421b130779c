"""Gaussian mixtures under a gain of its own for each entry: dense covariances, not spectra."""

import jax
import jax.numpy as jnp


def covariances(mixture, dtype):
    """The covariances [k, d, d] of a mixture's components. Source: definition."""
    floors, bases, spectra = (
        part.astype(dtype) for part in (mixture.floors, mixture.bases, mixture.spectra)
    )
    eye = jnp.eye(mixture.means.shape[1], dtype=dtype)[None]
    return floors[:, None, None] * eye + jnp.einsum("kdr,kr,ker->kde", bases, spectra, bases)


def channel_logdensity(mixture, gain, heard):
    """The log-density [] of heard = gain x0 + unit noise for gains [d], in nats.

    Source: definition.
    """
    return jax.nn.logsumexp(_joint(mixture, gain, heard)[0])


def posterior(mixture, gain, heard):
    """The mean [d], responsibilities [k], component means [k, d] and covariances [k, d, d] of x0
    given heard = gain x0 + unit noise, for gains [d].

    Source: Gaussian conditioning.
    """
    logs, covs, roots, white = _joint(mixture, gain, heard)
    responsibilities = jax.nn.softmax(logs)
    pulled = jax.scipy.linalg.solve_triangular(roots, gain[None, :, None] * covs, lower=True)
    means = mixture.means.astype(heard.dtype) + jnp.einsum("kij,ki->kj", pulled, white)
    left = covs - jnp.einsum("kij,kil->kjl", pulled, pulled)
    return responsibilities @ means, responsibilities, means, left


def _joint(mixture, gain, heard):
    """Log weight times density [k], covariances, roots of those of heard, whitened residuals."""
    dtype = heard.dtype
    covs = covariances(mixture, dtype)
    gain = gain.astype(dtype)
    eye = jnp.eye(gain.size, dtype=dtype)[None]
    roots = jnp.linalg.cholesky(gain[None, :, None] * covs * gain[None, None] + eye)
    away = heard[None] - gain[None] * mixture.means.astype(dtype)
    white = jax.scipy.linalg.solve_triangular(roots, away[..., None], lower=True)[..., 0]
    log_det = jnp.sum(jnp.log(jnp.diagonal(roots, axis1=-2, axis2=-1)), -1)
    logs = -jnp.sum(white**2, -1) / 2 - log_det - gain.size * jnp.log(2 * jnp.pi) / 2
    return mixture.log_weights.astype(dtype) + logs, covs, roots, white
