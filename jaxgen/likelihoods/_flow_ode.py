"""Exact likelihood by the probability-flow ODE: the change of variables along the flow from data to
noise.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.likelihoods._options import check_count, check_grid, spread
from jaxgen.math import divergence, working_dtype
from jaxgen.predictions import as_field
from jaxgen.processes import (
    auxiliary_law,
    channel_at,
    is_diagonal,
    lift,
    noise_shape,
    num_blocks,
)
from jaxgen.processes import prior as unit_prior
from jaxgen.solvers import exponential, ode, solve


class FlowTerms(NamedTuple):
    """A log-likelihood and what it is made of, nats. Source: definition."""

    log_prob: Any  # [] the estimate: prior + change - auxiliaries
    prior: Any  # [] log p_T(z_T)
    change: Any  # [] log p(z_0) - log p_T(z_T) along the flow, mean over the probes
    auxiliaries: Any  # [] log q of the auxiliaries drawn, 0 for scalar processes
    probe_error: (
        Any  # [] standard error of `change` over the probes, 0 when exact, NaN for one probe
    )
    latent: Any  # z_T [*event] or [c, *event]
    start: Any  # z at t_min [*event] or [c, *event]: the data, with the auxiliaries drawn


def flow_ode(
    process,
    denoiser,
    ts,
    *,
    probes=None,
    estimator=divergence.hutchinson,
    prior=None,
    order=4,
    hold="eps",
    rtol=None,
):
    """log_prob(key, x [*event]) -> [] nats: the log-density of the data part at t_min under the
    probability flow.

    Args: denoiser(z, t) -> E[x0 | z] [*event]; ts, a grid falling from noise to data, which is run
        backwards; probes: None for the exact divergence, k for an estimate with k Rademacher
        probes drawn from key; estimator: what they are handed to, `math.divergence.hutchinson` or
        `hutch_plus_plus`; prior: a `Distribution` of z_T, by default N(0, alpha^2 + sigma^2);
        order, hold: of the exponential Adams-Bashforth method, with an exact start; rtol: if given,
        an adaptive Runge-Kutta method (diffrax) of this tolerance instead, between the ends of ts.
    For a block process the auxiliaries are drawn from `processes.auxiliary_law` and log q is
    subtracted: with an exact score and t_min -> 0 exact for every draw, else a lower bound on
    average. `key` feeds probes and auxiliaries only.
    Raises ValueError on rising ts, ts outside the process, probes < 1, and as `adams_bashforth`.
    Source: Song et al. 2021, arXiv 2011.13456, equation 39; Chen et al. 2018, arXiv 1806.07366;
    exponential form derived.
    """
    terms = flow_ode_terms(
        process,
        denoiser,
        ts,
        probes=probes,
        estimator=estimator,
        prior=prior,
        order=order,
        hold=hold,
        rtol=rtol,
    )
    return lambda key, x: terms(key, x).log_prob


def flow_ode_terms(
    process,
    denoiser,
    ts,
    *,
    probes=None,
    estimator=divergence.hutchinson,
    prior=None,
    order=4,
    hold="eps",
    rtol=None,
    chunk=None,
):
    """terms(key, x [*event]) -> FlowTerms: `flow_ode` with its parts reported one by one, nats [].

    Args: as `flow_ode`; chunk, of `math.divergence.exact`, bounds the memory of the exact
    divergence.
    Raises ValueError as `flow_ode`. Source: as `flow_ode`.
    """
    check_grid("likelihoods.flow_ode", process, ts)
    check_count("likelihoods.flow_ode", "probes", probes)
    if probes is not None:
        estimator(np.zeros((probes, 1)))  # refuses too few probes now
    run = (
        _exponential(process, denoiser, order, hold)
        if rtol is None
        else _adaptive(process, denoiser, rtol)
    )

    def terms(key, x):
        x = jnp.asarray(x)
        key_lift, key_probe = jax.random.split(key)
        z, log_q = _lift(process, key_lift, x)
        trace = divergence.exact(chunk=chunk)
        if probes is not None:
            shape = (probes, *x.shape)
            trace = estimator(jax.random.rademacher(key_probe, shape, x.dtype))
        latent, change = run(trace, z, ts[::-1])
        law = unit_prior(process, x.shape) if prior is None else prior
        log_prior, mean = law.logdensity(latent), -jnp.mean(change)
        error = jnp.zeros_like(mean)
        if probes is not None:
            error = spread(change, len(change))
        return FlowTerms(log_prior + mean - log_q, log_prior, mean, log_q, error, latent, z)

    return terms


def _exponential(process, denoiser, order, hold):
    method = functools.partial(
        exponential.adams_bashforth, process, denoiser, order=order, hold=hold, start="exact"
    )
    method()  # refuses its options now, not when the likelihood is evaluated

    def run(estimator, z, ts):
        latent, infos = solve(jax.random.key(0), method(divergence=estimator), z, ts)
        return latent, jnp.sum(infos.log_density, 0)

    return run


def _adaptive(process, denoiser, rtol):
    method = functools.partial(ode.adaptive, rtol=rtol, atol=rtol, method="dopri8")
    method(as_field(process, denoiser))

    def run(estimator, z, ts):
        options = {"entries": True} if is_diagonal(process) else {}

        def with_density(state, t):
            z = state[0]
            x0hat, trace = estimator(lambda inner: denoiser(inner, t), z, **options)
            value = as_field(process, lambda z, t: x0hat)(z, t)
            return value, -_divergence(process, t, trace.astype(z.dtype), x0hat.size)

        t = jnp.zeros((), working_dtype(z))
        trace = jax.eval_shape(lambda z, t: with_density((z,), t)[1], z, t)
        start = (z, jnp.zeros(trace.shape, trace.dtype))
        return solve(jax.random.key(0), method(with_density), start, ts[:: len(ts) - 1])[0]

    return run


def _divergence(process, t, trace, size):
    """That of the field, [...], from the traces of the denoiser's Jacobian: [...], [..., c] one for
    each block, or for a process diagonal in a basis its diagonals [..., *event].

    The field is F z + G G^T Sigma^-1 (z - Phi_0 x0hat) / 2. Source: derived.
    """
    (phi, _), noise = process.transition(t), process.diffusion(t)
    drift, whiten = process.drift(t), channel_at(process, t).whiten
    if num_blocks(process) is not None:
        push = noise @ noise.T @ (whiten.T @ whiten) / 2
        linear, seen = jnp.trace(drift + push), push @ phi[:, 0]
        return (size * linear - trace @ seen).astype(trace.dtype)
    push = (noise * whiten) ** 2 / 2
    if not is_diagonal(process):
        return (size * (drift + push) - push * phi * trace).astype(trace.dtype)
    axes = tuple(range(-phi.ndim, 0))
    seen = jnp.broadcast_to(push * phi, trace.shape) * trace
    return (jnp.sum(drift + push) - jnp.sum(seen, axes)).astype(trace.dtype)


def _lift(process, key, x):
    if num_blocks(process) is None:
        return x, jnp.zeros((), x.dtype)
    eps = jax.random.normal(key, noise_shape(process, x.shape), x.dtype)
    chol = auxiliary_law(process)[1]
    log_q = jnp.sum(jax.scipy.stats.norm.logpdf(eps[1:])) - x.size * jnp.sum(
        jnp.log(jnp.diag(chol))
    )
    return lift(process, x, eps), log_q.astype(x.dtype)
