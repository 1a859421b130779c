"""Evidence lower bounds of any linear process, in continuous time and of a chain of steps.

    log p(x) >= E log p(x | z_tmin) - 1/2 int (-d gamma/dt) E|x - x0hat(z_t, t)|^2 dt
                - KL(q(z_T | x) || p(z_T)),

with gamma the signal-to-noise ratio of the channel: the divergence of the paths is that of the
channel, whatever the schedule and the auxiliaries, which are marginalised. With the exact denoiser,
prior and decoder it is an equality for every x, since p(x) = p(x, path) / p(path | x).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from jaxgen.likelihoods._decoders import gaussian_decoder
from jaxgen.likelihoods._options import check_count, check_grid, spread
from jaxgen.losses.score import likelihood_time, likelihood_weight
from jaxgen.math import contract, invert, is_concrete, on_host, working_dtype
from jaxgen.processes import (
    channel_at,
    corrupt,
    is_diagonal,
    log_snr,
    noise_shape,
    num_blocks,
    reverse_kl,
    snr_gap,
)

POINTS = 64


class ElboTerms(NamedTuple):
    """A lower bound and the four terms it is the sum of, nats. Source: definition."""

    value: Any  # [] prior + reconstruction + diffusion + discretisation
    standard_error: Any  # [] of `value` over the draws, NaN for one draw
    prior: Any  # [] -KL(q(z_T | x) || p(z_T)), what the noisy end still knows of x
    reconstruction: Any  # [] E log p(x | z_tmin)
    diffusion: Any  # [] minus the divergence of the paths in continuous time
    discretisation: Any  # [] what the finite steps add to it, 0 in continuous time


class ElboIntegrands(NamedTuple):
    """What the terms of a bound are expectations of, for given noise eps. Source: definition."""

    prior: Callable  # (x, eps) -> [] log p(z_T) - log q(z_T | x), or its mean where known
    reconstruction: Callable  # (x, eps) -> [] log p(x | z_tmin)
    squared_error: Callable  # (x, eps, t) -> [*event] (x - x0hat(z_t, t))^2


def elbo(
    process,
    denoiser,
    ts=None,
    *,
    points=None,
    draws=1,
    variance=0.0,
    data_std=1.0,
    prior=None,
    decoder=None,
    chunk=None,
):
    """log_prob(key, x [*event]) -> [] nats: an unbiased estimate of a lower bound on log p(x) under
    a diffusion with this denoiser, for any linear process.

    It bounds the density of x itself, which the decoder draws from z at the clean end, while
    `flow_ode` reports the density of the noised data there. The two are compared through
    `gaussian_decoder(process)`: with it the bound is at most d log alpha + E log p(z), z = alpha x
    + sigma eps at t_min, p from `flow_ode`, and equal to it for the exact score.
    Args: denoiser(z, t) -> E[x0 | z] [*event]; ts: None for continuous time between t_min and
        t_max, or the falling stops [n + 1] of `solvers.sde.ancestral`, whose chain is then the
        model; points: evaluations in time (64 when None, or all steps), spread evenly by one
        uniform number; draws: independent repetitions; variance: of the chain's steps, 0 for
        beta_tilde, 1 for beta, between the two or v(z, t) -> [*event] as learned by
        `losses.score.hybrid`; data_std: times are drawn from `losses.score.likelihood_time`, None
        for evenly in t; prior: a `Distribution` of z_T, by default N(0, Phi_0 Phi_0^T + Sigma);
        decoder(x, z) -> [], by default `gaussian_decoder(process, denoiser)`; chunk: how many
        points to hold in memory at once.
    `key` feeds times and noise. Raises ValueError on ts that rise or leave the process, points,
    draws or chunk < 1, or a variance in continuous time.
    Source: Kingma et al. 2021, arXiv 2107.00630, equations 11-18; Nichol and Dhariwal 2021, arXiv
    2102.09672, equations 4-7 and 15; for blocks derived.
    """
    run = _estimator(
        process, denoiser, ts, points, draws, variance, data_std, prior, decoder, chunk, False
    )
    return lambda key, x: run(key, x).value


def elbo_terms(
    process,
    denoiser,
    ts=None,
    *,
    points=None,
    draws=1,
    variance=0.0,
    data_std=1.0,
    prior=None,
    decoder=None,
    chunk=None,
):
    """terms(key, x [*event]) -> ElboTerms: `elbo` with its terms one by one and its error, nats [].

    For a chain each step is also evaluated at a random time inside it, to tell the cost of finite
    steps from the divergence in continuous time; so the evaluations double. Raises ValueError as
    `elbo`. Source: as `elbo`.
    """
    return _estimator(
        process, denoiser, ts, points, draws, variance, data_std, prior, decoder, chunk, True
    )


def elbo_integrands(process, denoiser, *, t_min=None, t_max=None, prior=None, decoder=None):
    """`ElboIntegrands`: what the bound averages over unit noise eps [*event] or [c, *event], for
    quadrature and for estimators of one's own.

    The bound is E prior + E reconstruction - 1/2 int (-d gamma/dt) E sum(squared_error) dt. All
    three depend on eps through `channel_at(process, t).noise . eps` alone when denoiser, decoder
    and prior are exact. Args: as `elbo`; t_min, t_max: its ends, the process's when None. Source:
    as `elbo`.
    """
    low = process.t_min if t_min is None else t_min
    high = process.t_max if t_max is None else t_max
    decoder = gaussian_decoder(process, denoiser, t=low) if decoder is None else decoder

    def reconstruction(x, eps):
        return decoder(x, corrupt(process, x, eps, jnp.asarray(low, working_dtype(x))))

    def squared_error(x, eps, t):
        x0hat = denoiser(corrupt(process, x, eps, t), t)
        return (x - x0hat).astype(working_dtype(x)) ** 2

    if prior is None:
        end = lambda x, eps: -unit_prior_kl(process, high, x)
    else:
        end = lambda x, eps: end_weight(process, prior, high, x, eps)[1]
    return ElboIntegrands(end, reconstruction, squared_error)


def unit_prior_kl(process, t, x):
    """KL(q(z_t | x) || N(0, Phi_0 Phi_0^T + Sigma)) [] in nats, for x [*event]; only the channel
    differs: N(gain x, 1) against N(0, 1 + gamma).

    Source: Kingma et al. 2021, arXiv 2107.00630, equation 11; for blocks derived.
    """
    level = log_snr(process, jnp.asarray(t, working_dtype(x)))
    return jnp.sum(jax.nn.softplus(level) + jax.nn.sigmoid(level) * (x**2 - 1)) / 2


def end_weight(process, prior, t, x, eps):
    """z_t for noise eps, and log prior(z_t) - log q(z_t | x) [] in nats. Source: definition."""
    t = jnp.asarray(t, working_dtype(x))
    z, chol = corrupt(process, x, eps, t), jnp.asarray(process.transition(t)[1], x.dtype)
    volume = jnp.sum(jnp.log(chol if num_blocks(process) is None else jnp.diag(chol)))
    size = 1 if is_diagonal(process) else x.size
    return z, prior.logdensity(z) - jnp.sum(norm.logpdf(eps)) + size * volume


def check_variance(name, ts, variance):
    """Raises ValueError when continuous time is given a variance of steps. Source: definition."""
    fixed = is_concrete(variance) and not callable(variance)
    if ts is None and not (fixed and variance == 0):
        raise ValueError(
            f"{name}: variance must be 0 in continuous time, where all steps agree; got {variance}"
        )


def _estimator(
    process, denoiser, ts, points, draws, variance, data_std, prior, decoder, chunk, split
):
    name = "likelihoods.elbo"
    for label, number in {"points": points, "draws": draws, "chunk": chunk}.items():
        check_count(name, label, number)
    check_variance(name, ts, variance)
    low, high = process.t_min, process.t_max
    if ts is not None:
        check_grid(name, process, ts)
        low, high = ts[-1], ts[0]
    parts = elbo_integrands(process, denoiser, t_min=low, t_max=high, prior=prior, decoder=decoder)
    path = (
        _continuous(process, parts, points or POINTS, data_std, chunk)
        if ts is None
        else _chain(process, parts, ts, points, variance, data_std, chunk, split)
    )

    def once(key, x):
        key_prior, key_decoder, key_path = jax.random.split(key, 3)
        shape = noise_shape(process, x.shape)
        last = parts.prior(x, jax.random.normal(key_prior, shape, x.dtype))
        eps = jax.random.normal(key_decoder, shape, x.dtype)
        first = parts.reconstruction(x, eps)
        if decoder is None:  # its square is nearly that of the channel's noise
            first += jnp.sum(_heard(process, jnp.asarray(low, working_dtype(x)), eps) ** 2 - 1) / 2
        return last, first, *path(key_path, x)

    def terms(key, x):
        x = jnp.asarray(x)
        found = _over(lambda key: once(key, x), jax.random.split(key, draws), chunk and 1)
        found = [term.astype(working_dtype(x)) for term in found]  # tables may be wider
        values = sum(found)
        means = (jnp.mean(term) for term in found)
        return ElboTerms(jnp.mean(values), spread(values, draws), *means)

    return terms


def _over(fn, xs, chunk):
    return jax.vmap(fn)(xs) if chunk is None else jax.lax.map(fn, xs, batch_size=chunk)


def _continuous(process, parts, points, data_std, chunk):
    """path(key, x) -> minus the divergence of the paths in continuous time, and 0."""
    if data_std is None:
        low, high = process.t_min, process.t_max
        law = lambda u: jnp.asarray(low, u.dtype) + jnp.asarray(high - low, u.dtype) * u
    else:
        law = likelihood_time(process, data_std)
    weight = likelihood_weight(process, data_std)

    def path(key, x):
        def at(u, key):
            t = law(u)
            eps = jax.random.normal(key, noise_shape(process, x.shape), x.dtype)
            square = parts.squared_error(x, eps, t) - _known(process, data_std or 1.0, x, eps, t)
            return jnp.sum(weight(t) * square)

        key_time, key_noise = jax.random.split(key)
        u = _evenly(jax.random.uniform(key_time, (), working_dtype(x)), points)
        found = _over(lambda both: at(*both), (u, jax.random.split(key_noise, points)), chunk)
        return -jnp.mean(found), jnp.zeros_like(found[0])

    return path


def _chain(process, parts, ts, points, variance, data_std, chunk, split):
    """path(key, x) -> minus the divergence in continuous time, and minus what n steps add to it; or
    minus their sum, and 0.
    """
    steps, levels = len(ts) - 1, on_host(log_snr, process, ts)
    count = steps if points is None else points

    def path(key, x):
        dtype = working_dtype(x)
        stops, snrs = jnp.asarray(ts, dtype), jnp.asarray(levels, dtype)

        def at(index, key):
            key_noise, key_inside = jax.random.split(key)
            t, noisy, clean = stops[index], snrs[index], snrs[index + 1]
            eps = jax.random.normal(key_noise, noise_shape(process, x.shape), x.dtype)
            square, v = parts.squared_error(x, eps, t), variance
            if callable(variance):
                v = variance(corrupt(process, x, eps, t), t)
            else:
                square -= _known(process, data_std or 1.0, x, eps, t)
            whole = jnp.sum(reverse_kl(noisy, clean, square, v))
            if not split:
                return whole, jnp.zeros_like(whole)
            u, at_clean = jax.random.uniform(key_inside, (), dtype), stops[index + 1]
            between, weight = _inside(process, u, t, at_clean, noisy, clean)
            square = parts.squared_error(x, eps, between)
            square -= _known(process, data_std or 1.0, x, eps, between)
            smooth = jnp.sum(weight / 2 * square)
            return smooth, whole - smooth

        key_step, key_noise = jax.random.split(key)
        index = jnp.arange(steps)
        if points is not None:
            u = _evenly(jax.random.uniform(key_step, (), dtype), points)
            index = jnp.clip((u * steps).astype(jnp.int32), 0, steps - 1)
        keys = jax.random.split(key_noise, count)
        found = _over(lambda both: at(*both), (index, keys), chunk)
        return tuple(-jnp.mean(term) * steps for term in found)

    return path


def _known(process, data_std, x, eps, t):
    """The squared error [*event] of a denoiser made for normal data, less its mean over eps: a
    control variate, which takes away the noise that every denoiser leaves where z is clean.
    """
    part = channel_at(process, t)
    kept = 1 / (1 + 1 / (part.gain * data_std) ** 2)
    noise = _heard(process, t, eps)
    bias, scale = (1 - kept) * x, kept / part.gain
    return scale**2 * (noise**2 - 1) - 2 * bias * scale * noise


def _heard(process, t, eps):
    """The channel's noise [*event] at t, of eps [*event] or [c, *event]."""
    return contract(channel_at(process, t).noise, eps, entries=is_diagonal(process))


def _inside(process, u, t, t_next, noisy, clean):
    """A time inside a step from u [], and -d gamma over its density: even in gamma where there is
    one gamma, else in t.
    """
    if not is_diagonal(process):
        gap = snr_gap(noisy, clean)
        level = jnp.log(jnp.exp(noisy) + gap * u)
        return invert(lambda t: log_snr(process, t), level, t_next, t), gap
    between = t_next + (t - t_next) * u
    snr = lambda t: jnp.exp(log_snr(process, t))
    return between, -(t - t_next) * jax.jvp(snr, (between,), (jnp.ones_like(t),))[1]


def _evenly(u, n):
    """n points in [0, 1), spread evenly from one uniform number u."""
    return (u + jnp.arange(n, dtype=u.dtype) / n) % 1.0
