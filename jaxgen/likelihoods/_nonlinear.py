"""Likelihoods under a nonlinear process: the change of variables along its probability flow, and
the bound of its reverse-time SDE.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import divergence, is_concrete, working_dtype
from jaxgen.processes import nonlinear
from jaxgen.solvers import ode, sde, solve


class ChangeTerms(NamedTuple):
    """A log-likelihood by the change of variables and what it is made of, nats.

    Source: definition.
    """

    log_prob: Any  # [] the estimate: prior + change
    prior: Any  # [] log p_T(z_T)
    change: Any  # [] log p(z_0) - log p_T(z_T) along the flow, mean over the probes
    probe_error: Any  # [] its standard error over the probes, 0 when exact, NaN for one probe
    latent: Any  # z_T [*event]


class BoundTerms(NamedTuple):
    """A lower bound on a log-likelihood along one path, and its three parts, nats.

    Source: definition.
    """

    log_prob: Any  # [] the bound: prior - diffusion - noise
    prior: Any  # [] log pi at the end of the path
    diffusion: Any  # [] the integral along the path
    noise: Any  # [] int s . G dw, 0 on average whatever the score
    latent: Any  # z [*event] at the end of the path


def nonlinear_flow_ode(process, score_fn, ts, *, probes=None, prior=None, rtol=None):
    """log_prob(key, z [*event]) -> [] nats: the log-density at the clean end of ts under the
    probability flow of a `NonlinearForward`.

    Args: score_fn(z, t) -> grad log p_t(z) [*event]; ts [n + 1], a grid falling from noise to data,
        run backwards by the classical Runge-Kutta method; probes, None for the exact divergence, k
        for Hutchinson's with k Rademacher probes drawn from key; prior, a `Distribution` of z at
        ts[0], that of the process when None; rtol: if given, an adaptive method between the ends of
        ts instead.
    Raises ValueError on a linear process, rising ts, or probes < 1. Source: Song et al. 2021, arXiv
    2011.13456, equation 39, with the flow of appendix D.
    """
    terms = nonlinear_flow_ode_terms(process, score_fn, ts, probes=probes, prior=prior, rtol=rtol)
    return lambda key, z: terms(key, z).log_prob


def nonlinear_flow_ode_terms(process, score_fn, ts, *, probes=None, prior=None, rtol=None):
    """terms(key, z [*event]) -> ChangeTerms: `nonlinear_flow_ode` with its parts, nats [].

    Args and ValueErrors as `nonlinear_flow_ode`. Source: as `nonlinear_flow_ode`.
    """
    _check("nonlinear_flow_ode", process, ts, probes)
    field = nonlinear.flow_field(process, score_fn)
    method = ode.rk4 if rtol is None else functools.partial(ode.adaptive, rtol=rtol, atol=rtol)
    stops = ts[::-1] if rtol is None else ts[:: -(len(ts) - 1)]
    law = process.prior if prior is None else prior

    def terms(key, z):
        z = jnp.asarray(z)
        estimator = _estimator(key, z, probes)

        def with_density(state, t):
            value, trace = estimator(lambda inner: field(inner, t), state[0])
            return value, -trace

        t = jnp.zeros((), working_dtype(z))
        trace = jax.eval_shape(lambda z, t: with_density((z,), t)[1], z, t)
        start = (z, jnp.zeros(trace.shape, trace.dtype))
        latent, change = solve(key, method(with_density), start, stops)[0]
        log_prior, mean = law.logdensity(latent), -jnp.mean(change)
        error = jnp.zeros_like(mean)
        if probes is not None:
            spread = jnp.std(change, ddof=1) if probes > 1 else jnp.full_like(mean, jnp.nan)
            error = spread / probes**0.5
        return ChangeTerms(log_prior + mean, log_prior, mean, error, latent)

    return terms


def nonlinear_elbo(process, score_fn, ts, *, probes=None, prior=None):
    """log_prob(key, z [*event]) -> [] nats: one draw of a lower bound on the log-density, at the
    clean end of ts, under the reverse-time SDE of a `NonlinearForward` with this score.

    log p(z) >= E [log pi(z_T) - int |G^T s|^2 / 2 + div(G G^T s + (div G G^T) / 2 - f) dt] over the
    forward path from z: an equality on average for the exact score and pi = p_T. The Ito integral
    of s . G dw, 0 on average, is subtracted: with it each draw is exact for the exact score, up to
    the step.
    Args: as `nonlinear_flow_ode`; the path is simulated, and the integral taken by the trapezoid
        rule, on ts: the error of both is of order 2 in the step where G depends on t alone.
    Raises ValueError on a linear process, rising ts, or probes < 1.
    Source: Huang et al. 2021, arXiv 2106.02808 (the bound in continuous time); the terms of a G
    that depends on z derived.
    """
    terms = nonlinear_elbo_terms(process, score_fn, ts, probes=probes, prior=prior)
    return lambda key, z: terms(key, z).log_prob


def nonlinear_elbo_terms(process, score_fn, ts, *, probes=None, prior=None):
    """terms(key, z [*event]) -> BoundTerms: `nonlinear_elbo` with its parts, nats [].

    Args and ValueErrors as `nonlinear_flow_ode`. Source: as `nonlinear_elbo`.
    """
    _check("nonlinear_elbo", process, ts, probes)
    law = process.prior if prior is None else prior
    solver = sde.forward(process)

    def terms(key, z):
        z = jnp.asarray(z)
        key_path, key_probe = jax.random.split(key)
        estimator = _estimator(key_probe, z, probes)
        path, _ = solve(key_path, solver, z, ts[::-1], trajectory=True)
        stops = jnp.asarray(ts[::-1], working_dtype(z))

        def rate(z, t):
            score = score_fn(z, t)

            def current(z):
                pull = nonlinear.spread(process, z, t, score_fn(z, t))
                half = nonlinear.spread_divergence(process, z, t) / 2
                return pull + half - process.drift(z, t)

            pushed = nonlinear.unstir(process, z, t, score)
            return jnp.sum(pushed**2) / 2 + jnp.mean(estimator(current, z)[1]), score

        rates, scores = jax.vmap(rate)(path, stops)
        kicks = _kicks(process, key_path, path[:-1], stops)
        noise = jnp.sum(scores[:-1] * kicks)
        diffusion = jax.scipy.integrate.trapezoid(rates, stops)
        log_prior = law.logdensity(path[-1])
        return BoundTerms(log_prior - diffusion - noise, log_prior, diffusion, noise, path[-1])

    return terms


def _kicks(process, key, starts, stops):
    """The noise [n, *event] that `solve` gave to each step of a forward path."""

    def kick(i, z, t, t_next):
        eps = jax.random.normal(jax.random.fold_in(key, i), z.shape, z.dtype)
        return jnp.sqrt(t_next - t) * nonlinear.stir(process, z, (t + t_next) / 2, eps)

    return jax.vmap(kick)(jnp.arange(len(starts)), starts, stops[:-1], stops[1:])


def _estimator(key, z, probes):
    if probes is None:
        return divergence.exact()
    return divergence.hutchinson(jax.random.rademacher(key, (probes, *z.shape), z.dtype))


def _check(name, process, ts, probes):
    name = f"likelihoods.{name}"
    if not hasattr(process, "prior"):
        raise ValueError(
            f"{name}: the process must be a NonlinearForward; got {type(process).__name__}"
        )
    if jnp.ndim(ts) != 1 or len(ts) < 2:
        raise ValueError(f"{name}: ts must have shape [n + 1], n >= 1; got shape {jnp.shape(ts)}")
    if is_concrete(ts) and not ts[0] > ts[-1]:
        raise ValueError(f"{name}: ts must fall from noise to data; got {ts[0]} to {ts[-1]}")
    if probes is not None and probes < 1:
        raise ValueError(f"{name}: probes must be None or at least 1; got {probes}")
