"""Denoisers from an ensemble of candidates: no gradients, and no evaluation after the start.

Candidates x_i from a known density r are weighed by p(x_i) / r(x_i) once; at (z, t) they are
weighed again by the channel, exp(-|heard - gain x_i|^2 / 2). Where the channel resolves single
candidates (little noise) the denoiser returns one of them: stop where the noise is as wide as their
spacing, or hand the last stretch to `importance`. Source: Riel and Bilionis 2024, arXiv 2401.17539
(recalled), derived here from the posterior of the channel.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.densities import distribution, gaussian
from jaxgen.predictions.from_density._posterior import check_draws, check_event, heard, of_points
from jaxgen.predictions.from_density._posterior import shares as normalised


class GaussianFit(NamedTuple):
    """A Gaussian fitted to an unnormalised density. Source: definition."""

    mean: Any  # [d]
    cov: Any  # [d, d]
    exponent: Any  # [], reached: 1 when all of the density was weighed
    effective_draws: Any  # [], of the last round


def ensemble(process, logdensity_fn, candidates, proposal_fn):
    """The denoiser (z, t) -> [*event]: the mean of candidates [m, *event] weighed by target,
    proposal and channel. m evaluations of the log-density when built, none afterwards.

    Args: proposal_fn(x) -> [], nats, normalised or not: the log-density the candidates are draws
        of, such as that of `gaussian_fit`.
    Raises ValueError on fewer than two candidates, a log-density that is not one number, or (where
    concrete) candidates none of which has a finite weight. Source: Riel and Bilionis 2024, arXiv
    2401.17539.
    """
    where = "predictions.from_density.ensemble"
    check_draws(where, candidates)
    candidates = jnp.asarray(candidates)
    log_ratios = of_points(logdensity_fn, candidates) - jax.vmap(proposal_fn)(candidates)
    if not isinstance(log_ratios, jax.core.Tracer) and not bool(jnp.any(jnp.isfinite(log_ratios))):
        raise ValueError(f"{where}: a candidate must have a finite log-density; got none")

    def denoiser(z, t):
        gain, signal = heard(process, z, t)
        check_event(where, candidates, signal)
        points = candidates.astype(z.dtype)
        missed = (signal[None] - jnp.broadcast_to(gain, signal.shape)[None] * points) ** 2 / 2
        log_weights = log_ratios.astype(z.dtype) - missed.reshape(len(points), -1).sum(1)
        return jnp.tensordot(normalised(log_weights), points, 1)

    return denoiser


def gaussian_fit(key, logdensity_fn, mean, cov, *, draws, rounds, share=0.5):
    """A `GaussianFit` to exp(logdensity_fn(x)), x [d], by rounds of importance sampling that start
    from N(mean [d], cov [d, d]) and need no gradients.

    Each round draws from the last Gaussian, weighs with the largest power of target / Gaussian, at
    most 1, that keeps `share` of the draws effective, and fits mean and covariance.
    Args: draws, of a round; rounds; share in (0, 1). Raises ValueError on other numbers. Source:
    Cappé et al. 2008 (population Monte Carlo), with tempered weights (Beskos et al. 2016).
    """
    if draws < 2 or rounds < 1 or not 0 < share < 1:
        raise ValueError(
            "predictions.from_density.gaussian_fit: draws >= 2, rounds >= 1 and 0 < share < 1 must "
            f"hold; got {draws}, {rounds}, {share}"
        )

    def turn(fit, index):
        law = distribution(gaussian(fit.mean, fit.cov))
        points = jax.vmap(law.sample)(jax.random.split(jax.random.fold_in(key, index), draws))
        ratios = of_points(logdensity_fn, points) - jax.vmap(law.logdensity)(points)
        effective = lambda power: 1 / jnp.sum(normalised(power * ratios) ** 2)

        def halve(ends, _):
            middle = (ends[0] + ends[1]) / 2
            fine = effective(middle) > share * draws
            return (jnp.where(fine, middle, ends[0]), jnp.where(fine, ends[1], middle)), None

        zero, one = jnp.zeros((), ratios.dtype), jnp.ones((), ratios.dtype)
        (low, _), _ = jax.lax.scan(halve, (zero, one), length=30)
        power = jnp.where(effective(one) > share * draws, one, low)
        weights = normalised(power * ratios)
        centre = weights @ points
        off = points - centre[None]
        cov = jnp.einsum("m,mi,mj->ij", weights, off, off)
        return GaussianFit(centre, cov, power, effective(power)), None

    mean, cov = jnp.asarray(mean), jnp.asarray(cov)
    start = GaussianFit(mean, cov, jnp.zeros((), mean.dtype), jnp.zeros((), mean.dtype))
    return jax.lax.scan(turn, start, jnp.arange(rounds))[0]
