"""Other readings of a denoiser: score and probability-flow field, and its use under another
process.
"""

import jax
import jax.numpy as jnp

from jaxgen.math import (
    apply,
    contract,
    data_column,
    invert,
    is_concrete,
    on_host,
    total,
    working_dtype,
)
from jaxgen.predictions._kinds import as_denoiser
from jaxgen.processes import (
    channel_at,
    is_diagonal,
    log_snr,
    num_blocks,
    refuse_diagonal,
)


def as_score(process, predict, *, kind="x0"):
    """score_fn(z, t) = grad log p_t(z), of the shape of z, from a raw network view; kinds as in
    kinds as in `as_denoiser`.

    s = -Sigma^-1 (z - Phi_0 E[x0 | z]), of all blocks, whichever block the network learned. Raises
    ValueError on an unknown kind. Source: Robbins 1956 (Tweedie's formula), for blocks by Gaussian
    conditioning.
    """
    denoiser, entries = as_denoiser(process, predict, kind=kind), is_diagonal(process)

    def score_fn(z, t):
        phi, chol = process.transition(t)
        blocks = num_blocks(process) is not None
        whiten = channel_at(process, t).whiten
        precision = whiten.T @ whiten if blocks else whiten**2
        signal = apply(data_column(phi, blocks=blocks), denoiser(z, t), entries=entries)
        residual = total([signal, jax.tree.map(jnp.negative, z)])
        return apply(precision, residual, entries=entries)

    return score_fn


def as_field(process, predict, *, kind="x0"):
    """field(z, t) = dz/dt of the probability flow, F z - G G^T s / 2, [*event] or [c, *event];
    kinds as in `as_denoiser`.

    Raises ValueError on an unknown kind. Source: Song et al. 2021, arXiv 2011.13456, equation 13.
    """
    score_fn, entries = as_score(process, predict, kind=kind), is_diagonal(process)

    def field(z, t):
        blocks = num_blocks(process) is not None
        noise = process.diffusion(t)
        push = noise @ noise.T if blocks else noise**2
        drift = apply(process.drift(t), z, entries=entries)
        return total([drift, apply(-push / 2, score_fn(z, t), entries=entries)])

    return field


def rechannel(denoiser, trained_under, sampled_under):
    """A denoiser for `sampled_under` made of one for `trained_under`: (z, t) -> E[x0 | z] [*event].

    Every linear process with Gaussian auxiliaries shows x0 through one Gaussian channel, read . z =
    gain x0 + unit noise; at the time s when `trained_under`, which must be scalar, has the same
    gain, the denoiser is handed z' = alpha(s) u, u = read . z / gain. Times s are clipped to
    [t_min, t_max] of `trained_under`, where a network knows its answers (see `matched_times`): on
    cleaner z than it was trained for u keeps its scale, on noisier z the noise does. Raises
    ValueError where `trained_under` has blocks or either is diagonal in a basis: one time s has to
    match all entries.
    Source: derived (sufficiency of Phi_0^T Sigma^-1 z); Karras et al. 2022, arXiv 2206.00364,
    section 2, for scalars.
    """
    for process in (trained_under, sampled_under):
        refuse_diagonal("predictions.rechannel", process)
    if num_blocks(trained_under) is not None:
        raise ValueError(
            "predictions.rechannel: trained_under must be a scalar process; got blocks"
        )

    def at_gain(z, t):
        part = channel_at(sampled_under, t)
        s = invert(
            lambda u: log_snr(trained_under, u), 2 * jnp.log(part.gain), *_ends(trained_under, t)
        )
        alpha, sigma = trained_under.transition(s)
        scale = jnp.minimum(sigma, alpha / part.gain)  # equal unless s was clipped
        return denoiser(contract(scale * part.read, z), s)

    return at_gain


def _ends(process, t):
    dtype = working_dtype(1.0 * t)
    return jnp.asarray(process.t_min, dtype), jnp.asarray(process.t_max, dtype)


def matched_times(sampled_under, trained_under):
    """(t_min [], t_max []) of `sampled_under`, clipped to where `trained_under` has the same
    signal-to-noise ratio.

    Use them as the ends of a grid when sampling with `rechannel`. Raises ValueError where either is
    diagonal in a basis. Source: derived, as `rechannel`.
    """
    for process in (trained_under, sampled_under):
        refuse_diagonal("predictions.matched_times", process)

    def ends(sampled, trained):
        lo, hi = sampled.t_min, sampled.t_max
        targets = [log_snr(trained, trained.t_min), log_snr(trained, trained.t_max)]
        return tuple(invert(lambda t: log_snr(sampled, t), target, lo, hi) for target in targets)

    return (
        on_host(ends, sampled_under, trained_under)
        if is_concrete(sampled_under, trained_under)
        else ends(sampled_under, trained_under)
    )
