"""The last step of a bound: how x is read from z at the clean end, log p(x | z) in nats."""

import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

from jaxgen.math import contract, is_concrete
from jaxgen.processes import channel_at, is_diagonal


def gaussian_decoder(process, denoiser=None, *, t=None, variance=None):
    """decoder(x [*event], z) -> [] nats: log N(x; mean(z), variance) of continuous data.

    Args: denoiser(z, t), whose answer is the mean; None reads x off the channel, read . z / gain;
    t: the clean end, t_min when None; variance: [] or [*event], 1 / gamma(t) when None. With the
    exact denoiser the mean is that of the true p(x | z) and the divergence from it is of order
    gamma^-2, without one of order gamma^-1. Raises ValueError when variance is not positive.
    Source: Kingma et al. 2021, arXiv 2107.00630, section 3.3; derived.
    """
    read = _moments("gaussian_decoder", process, denoiser, t, variance)

    def decoder(x, z):
        mean, deviation = read(x, z)
        return jnp.sum(norm.logpdf(x, mean, deviation))

    return decoder


def discretised_decoder(
    process, levels, denoiser=None, *, t=None, variance=None, low=-1.0, high=1.0
):
    """decoder(x [*event], z) -> [] nats: the log-probability of whole levels, whose cells of equal
    width fill [low, high]; x is any point of a level's cell, such as its middle.

    A Gaussian is integrated over each cell, and over everything beyond the first and the last, so
    that the probabilities of all levels sum to one. Args: as `gaussian_decoder`. Raises ValueError
    on fewer than two levels, or when variance is not positive.
    Source: Ho et al. 2020, arXiv 2006.11239, equation 13; cells as in `data.to_unit`.
    """
    if levels < 2:
        raise ValueError(
            f"likelihoods.discretised_decoder: levels must be at least 2; got {levels}"
        )
    read = _moments("discretised_decoder", process, denoiser, t, variance)
    width = (high - low) / levels

    def decoder(x, z):
        mean, deviation = read(x, z)
        index = jnp.clip(jnp.floor((x - low) / width), 0, levels - 1)
        bottom = (low + width * index - mean) / deviation
        top = (low + width * (index + 1) - mean) / deviation
        bottom, top = (
            jnp.where(index == 0, top - _FAR, bottom),
            jnp.where(index == levels - 1, bottom + _FAR, top),
        )
        return jnp.sum(_log_mass(bottom, top))

    return decoder


_FAR = 1e6  # standard deviations: as good as infinity, with finite gradients


def _log_mass(bottom, top):
    """log(ndtr(top) - ndtr(bottom)), on the side of zero where it keeps its digits."""
    flip = bottom > 0
    bottom, top = jnp.where(flip, -top, bottom), jnp.where(flip, -bottom, top)
    whole = log_ndtr(top)
    return whole + jnp.log(-jnp.expm1(log_ndtr(bottom) - whole))


def _moments(name, process, denoiser, t, variance):
    """read(x, z) -> mean [*event] and deviation [] or [*event] of x given z."""
    if is_concrete(variance) and variance is not None and not jnp.all(jnp.asarray(variance) > 0):
        raise ValueError(f"likelihoods.{name}: variance must be positive; got {variance}")
    t = process.t_min if t is None else t

    def read(x, z):
        part = channel_at(process, jnp.asarray(t, x.dtype))
        known = lambda: contract(part.read / part.gain, z, entries=is_diagonal(process))
        mean = known() if denoiser is None else denoiser(z, jnp.asarray(t, x.dtype))
        deviation = 1 / part.gain if variance is None else jnp.sqrt(variance)
        return mean, jnp.broadcast_to(jnp.asarray(deviation, x.dtype), x.shape)

    return read
