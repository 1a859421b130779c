"""Gaussian mixtures: the truth that every linear process is tested against.

Component k has covariance floor_k I + U_k diag(spectrum_k) U_k^T with orthonormal U_k [d, r], so
isotropic (r = 0), low-rank (r < d) and full (r = d) covariances are one record, and noise only
raises the floor.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.densities import _dense
from jaxgen.math import channel
from jaxgen.types import DiagonalForward, Distribution


class GaussianMixture(NamedTuple):
    """A mixture of Gaussians over flat vectors [d]; a pytree. Source: definition."""

    log_weights: Any  # [k], normalised
    means: Any  # [k, d]
    floors: Any  # [k], variance in every direction
    bases: Any  # [k, d, r], orthonormal columns
    spectra: Any  # [k, r], variance along the columns on top of the floor


def gaussian(mean, cov):
    """The one-component mixture N(mean [d], cov [d, d], [d] or []). Raises ValueError as
    `gaussian_mixture`.

    Source: definition.
    """
    return gaussian_mixture([1.0], jnp.asarray(mean)[None], jnp.asarray(cov)[None])


def gaussian_mixture(weights, means, covs):
    """The mixture sum_k weights_k N(means_k, covs_k) over [d].

    Args: weights [k] (positive, normalised here), means [k, d], covs [k] (isotropic variances), [k,
        d] (diagonals) or [k, d, d]. Raises ValueError on shapes that do not fit, or weights that
        are not positive.
    Source: definition.
    """
    weights, means, covs = (jnp.asarray(array, float) for array in (weights, means, covs))
    k, d = means.shape if means.ndim == 2 else (None, None)
    if k is None or weights.shape != (k,) or covs.shape not in {(k,), (k, d), (k, d, d)}:
        raise ValueError(
            "densities.gaussian_mixture: weights [k], means [k, d], covs [k], [k, d] or "
            f"[k, d, d] must fit; got {weights.shape}, {means.shape}, {covs.shape}"
        )
    _check_weights("gaussian_mixture", weights)
    log_weights = jnp.log(weights) - jnp.log(jnp.sum(weights))
    if covs.ndim == 1:
        return GaussianMixture(log_weights, means, covs, jnp.zeros((k, d, 0)), jnp.zeros((k, 0)))
    if covs.ndim == 2:
        spectra, bases = covs, jnp.broadcast_to(jnp.eye(d), (k, d, d))
    else:
        spectra, bases = jnp.linalg.eigh(covs)
    floors = jnp.min(spectra, 1)
    return GaussianMixture(log_weights, means, floors, bases, spectra - floors[:, None])


def low_rank_mixture(weights, means, factors, floors):
    """The mixture with covariances floors_k I + factors_k factors_k^T over [d].

    Args: weights [k], means [k, d], factors [k, d, r], floors [k]. Raises ValueError on shapes that
    do not fit, or weights that are not positive.
    Source: definition; Wang et al. 2024, arXiv 2409.02426, for data near a union of subspaces
    (floors 0).
    """
    weights, means, factors, floors = (
        jnp.asarray(array, float) for array in (weights, means, factors, floors)
    )
    if (
        factors.ndim != 3
        or means.shape != factors.shape[:2]
        or not weights.shape == floors.shape == means.shape[:1]
    ):
        raise ValueError(
            "densities.low_rank_mixture: weights [k], means [k, d], factors [k, d, r], "
            f"floors [k] must fit; got {weights.shape}, {means.shape}, {factors.shape}, "
            f"{floors.shape}"
        )
    _check_weights("low_rank_mixture", weights)
    bases, singular, _ = jnp.linalg.svd(factors, full_matrices=False)
    return GaussianMixture(jnp.log(weights / jnp.sum(weights)), means, floors, bases, singular**2)


def _check_weights(name, weights):
    if not isinstance(weights, jax.core.Tracer) and not bool(jnp.all(weights > 0)):
        raise ValueError(f"densities.{name}: weights must be positive; got {np.asarray(weights)}")


def distribution(mixture):
    """The mixture as a `Distribution` over [d], log-density in nats. Source: definition."""
    return Distribution(Partial(_sample, mixture), Partial(_logdensity, mixture))


def _logdensity(mixture, x):
    return _channel_logdensity(mixture, 1.0, 0.0, x)


def _sample(mixture, key):
    key_component, key_floor, key_basis = jax.random.split(key, 3)
    k = jax.random.categorical(key_component, mixture.log_weights)
    mean = mixture.means[k]
    flat = jnp.sqrt(mixture.floors[k]) * jax.random.normal(key_floor, mean.shape, mean.dtype)
    along = jnp.sqrt(mixture.spectra[k])
    noise = along * jax.random.normal(key_basis, along.shape, mean.dtype)
    return mean + flat + mixture.bases[k] @ noise


def marginal(mixture, process, t):
    """The law of z_t, [d] or [c, d], when x0 follows the mixture: sample, and exact log-density in
    nats.

    Source: derived; z splits into the channel, a mixture, and standard normal coordinates
    orthogonal to it.
    """

    def sample(key):
        key_data, key_noise = jax.random.split(key)
        x0 = distribution(mixture).sample(key_data)
        phi, chol = (jnp.asarray(part) for part in process.transition(t))
        if phi.ndim < 2:
            return phi * x0 + chol * jax.random.normal(key_noise, x0.shape, x0.dtype)
        eps = jax.random.normal(key_noise, (phi.shape[0], *x0.shape), x0.dtype)
        return jnp.outer(phi[:, 0], x0) + chol @ eps

    def logdensity(z):
        part = _channel(process, t)
        if _by_entry(process):
            log_p = _dense.channel_logdensity(mixture, part.gain, part.read * z)
            return log_p + jnp.sum(jnp.log(part.whiten))
        heard = jnp.tensordot(part.read, z, part.read.ndim)
        log_p = _channel_logdensity(mixture, part.gain, 1.0, heard)
        if part.read.ndim == 0:
            return log_p + z.size * jnp.log(part.whiten)
        white = part.whiten @ z
        rest = jnp.sum(white**2) - jnp.sum(heard**2)
        dim = mixture.means.shape[1]
        volume = dim * jnp.sum(jnp.log(jnp.diag(part.whiten)))
        return log_p + volume - (rest + (z.size - dim) * jnp.log(2 * jnp.pi)) / 2

    return Distribution(sample, logdensity)


def denoiser(mixture, process):
    """The exact denoiser (z, t) -> E[x0 | z_t = z] [d] under any linear process; z is [d] or [c,
    d].

    Source: derived (Gaussian conditioning per component, then responsibilities).
    """

    def exact(z, t):
        part = _channel(process, t)
        if _by_entry(process):
            heard = (part.read * z).astype(z.dtype)
            return _dense.posterior(mixture, part.gain, heard)[0]
        heard = jnp.tensordot(part.read, z, part.read.ndim)
        return _posterior(mixture, jnp.asarray(part.gain, heard.dtype), heard)[0]

    return exact


def component_posteriors(mixture, process, z, t):
    """(shares [k], means [k, d]): how probable each component is given z_t = z, [d] or [c, d], and
    E[x0 | z, component].

    Raises ValueError on a process diagonal in a basis. Source: derived, as `denoiser`.
    """
    if isinstance(process, DiagonalForward):
        raise ValueError(
            "densities.component_posteriors: the process must be scalar or of blocks; got one "
            "diagonal in a basis"
        )
    part = _channel(process, t)
    heard = jnp.tensordot(part.read, z, part.read.ndim)
    return _posterior(mixture, jnp.asarray(part.gain, heard.dtype), heard)[1:3]


def posterior_covariance(mixture, process):
    """(z, t) -> Cov[x0 | z_t = z] [d, d], exact, under any linear process; z is [d] or [c, d].

    Source: derived (law of total covariance over the components).
    """

    def exact(z, t):
        part = _channel(process, t)
        if _by_entry(process):
            mean, shares, means, covs = _dense.posterior(mixture, part.gain, part.read * z)
            spread = means - mean[None]
            return jnp.einsum("k,kde->de", shares, covs + spread[:, None] * spread[..., None])
        heard = jnp.tensordot(part.read, z, part.read.ndim)
        mean, responsibilities, means, shrunk_floor, shrunk_spectrum = _posterior(
            mixture, part.gain, heard
        )
        spread = means - mean[None]
        within = jnp.einsum(
            "k,kdr,kr,ker->de", responsibilities, mixture.bases, shrunk_spectrum, mixture.bases
        )
        between = jnp.einsum("k,kd,ke->de", responsibilities, spread, spread)
        return within + between + jnp.dot(responsibilities, shrunk_floor) * jnp.eye(mean.size)

    return exact


def posterior_components(mixture, process):
    """(z, t) -> (logits [k], means [k, d], roots [k, d, d]) of x0 given z_t = z: it is again a
    mixture, of as many Gaussians, with covariances root root^T; under any linear process.

    Source: derived (Gaussian conditioning per component, then responsibilities).
    """

    def exact(z, t):
        part = _channel(process, t)
        if _by_entry(process):
            heard = (part.read * z).astype(z.dtype)
            _, shares, means, covs = _dense.posterior(mixture, part.gain, heard)
            return jnp.log(shares), means, jnp.linalg.cholesky(covs)
        heard = jnp.tensordot(part.read, z, part.read.ndim)
        _, shares, means, floors, spectra = _posterior(
            mixture, jnp.asarray(part.gain, heard.dtype), heard
        )
        along = jnp.sqrt(spectra + floors[:, None]) - jnp.sqrt(floors)[:, None]
        across = jnp.sqrt(floors)[:, None, None] * jnp.eye(heard.size, dtype=heard.dtype)[None]
        bases = mixture.bases.astype(heard.dtype)
        return (
            jnp.log(shares),
            means,
            across + jnp.einsum("kdr,kr,ker->kde", bases, along, bases),
        )

    return exact


def _channel(process, t):
    phi, chol = process.transition(t)
    return channel(phi, chol, blocks=jnp.ndim(phi) == 2)


def _by_entry(process):
    """Whether the process has a gain [d] of its own for each entry of its event."""
    if not isinstance(process, DiagonalForward):
        return False
    if len(np.shape(process.entries.t_max)) != 1:
        raise ValueError(
            "densities: mixtures are laws of flat vectors [d]; got a process of event "
            f"{np.shape(process.entries.t_max)}"
        )
    return True


def _along(mixture, gain, noise, heard):
    """Squared Mahalanobis distances [k], log-determinants [k] and coordinates [k, r] of heard =
    gain x0 + sqrt(noise) xi.
    """
    floors = (gain**2 * mixture.floors + noise).astype(heard.dtype)
    centres = (gain * mixture.means).astype(heard.dtype)
    square = jnp.sum(heard**2) - 2 * centres @ heard + jnp.sum(centres**2, 1)
    spectra = (gain**2 * mixture.spectra).astype(heard.dtype)
    coordinates = _coordinates(mixture, centres, heard)
    saved = jnp.sum(spectra / (spectra + floors[:, None]) * coordinates**2, 1)
    rank = spectra.shape[1]
    log_det = (heard.size - rank) * jnp.log(floors) + jnp.sum(jnp.log(spectra + floors[:, None]), 1)
    return (square - saved) / floors, log_det, coordinates


def _coordinates(mixture, centres, heard):
    bases = mixture.bases.astype(heard.dtype)
    return jnp.einsum("kdr,d->kr", bases, heard) - jnp.einsum("kdr,kd->kr", bases, centres)


def _channel_logdensity(mixture, gain, noise, heard):
    distance, log_det, _ = _along(mixture, gain, noise, heard)
    log_normal = -(distance + log_det + heard.size * jnp.log(2 * jnp.pi)) / 2
    return jax.nn.logsumexp(mixture.log_weights.astype(heard.dtype) + log_normal)


def _posterior(mixture, gain, heard):
    """Posterior mean [d], responsibilities [k], component means [k, d], and their floors [k] and
    spectra [k, r].
    """
    distance, log_det, coordinates = _along(mixture, gain, 1.0, heard)
    dtype = heard.dtype
    responsibilities = jax.nn.softmax(mixture.log_weights.astype(dtype) - (distance + log_det) / 2)
    floors, spectra, means = (
        part.astype(dtype) for part in (mixture.floors, mixture.spectra, mixture.means)
    )
    shrunk_floor = floors / (gain**2 * floors + 1)
    whole = floors[:, None] + spectra
    shrunk_spectrum = whole / (gain**2 * whole + 1) - shrunk_floor[:, None]
    # E[x0 | k] = mean_k + gain Cov_k (heard - gain mean_k), summed before [k, d] is formed.
    pull = gain * responsibilities * shrunk_floor
    mean = (responsibilities - gain * pull) @ means + jnp.sum(pull) * heard
    mean += jnp.einsum(
        "k,kdr,kr,kr->d",
        gain * responsibilities,
        mixture.bases.astype(dtype),
        shrunk_spectrum,
        coordinates,
    )
    component_means = means + gain * (
        shrunk_floor[:, None] * (heard[None] - gain * means)
        + jnp.einsum("kdr,kr,kr->kd", mixture.bases.astype(dtype), shrunk_spectrum, coordinates)
    )
    return mean, responsibilities, component_means, shrunk_floor, shrunk_spectrum
