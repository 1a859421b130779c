"""What every nonlinear process can do: a step of its path, its linearised increment, and its
reversals.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import phi
from jaxgen.processes.nonlinear._coefficient import dense, multiply, row_divergence, squared, turned

_TERMS, _DOUBLINGS = 16, 6
LINEARISATIONS = ("taylor", "diagonal", "euler")


class Increment(NamedTuple):
    """A Gaussian law of z a short time on, mean + factor @ unit noise. Source: definition."""

    mean: Any  # [*event]
    factor: Any  # a coefficient: [], [*event] or lower triangular [d, d] on flat z


def stir(process, z, t, eps):
    """G(z, t) eps [*event], for unit noise eps [*event]. Source: definition."""
    return multiply(process.diffusion(z, t), eps)


def spread(process, z, t, v):
    """G G^T v [*event] at (z, t), for v [*event]. Source: definition."""
    return squared(process.diffusion(z, t), v)


def unstir(process, z, t, v):
    """G^T v [*event] at (z, t), for v [*event]. Source: definition."""
    return multiply(turned(process.diffusion(z, t)), v)


def spread_divergence(process, z, t):
    """sum_j d (G G^T)_ij / dz_j [*event] at (z, t): 0 where the noise does not depend on z.

    One gradient where G is [], else one forward product for each entry of z. Source: definition.
    """
    if jnp.ndim(process.diffusion(z, t)) == 0:
        return jax.grad(lambda z: jnp.asarray(process.diffusion(z, t), z.dtype) ** 2)(z)
    return row_divergence(lambda z, v: squared(process.diffusion(z, t), v), z)


def advance(process, z, t, t_next, eps, *, heun=True):
    """z [*event] at t_next, from z at t and unit noise eps [*event]: one stochastic Heun step, or
    one Euler-Maruyama step.

    The noise is read at z, so the sense is Ito's. Weak order 2 where G depends on t alone, else 1.
    Source: Kloeden and Platen 1992, section 15.1.
    """
    h = t_next - t
    kick = jnp.sqrt(jnp.abs(h)) * stir(process, z, (t + t_next) / 2 if heun else t, eps)
    slope = process.drift(z, t)
    if heun:
        slope = (slope + process.drift(z + h * slope + kick, t_next)) / 2
    return (z + h * slope + kick).astype(z.dtype)


def increment(process, z, t, t_next, *, linearisation="taylor"):
    """The `Increment` from z [*event] at t to t_next > t, with the drift expanded about z.

    With f and J of the drift at z, h = t_next - t: mean z + int_0^h e^(J u) du f and covariance
    int_0^h e^(J u) G G^T e^(J^T u) du, by their series in h / 64 and six doublings: J need not be
    invertible, and nothing is lost up to |J| h = 32. J, f and G are read halfway in time, so that
    the law is exact for a linear drift whose rate is linear in t.
    Args: linearisation, "taylor"; "diagonal", at the cost of one derivative instead of d, right
        only where the drift acts on each entry of z alone and G is [] or [d]; or "euler", J = 0.
    Raises ValueError on an unknown linearisation, or a matrix G with "diagonal".
    Source: Singhal et al. 2024, arXiv 2407.07998; series and doubling derived.
    """
    check_linearisation("processes.nonlinear.increment", linearisation)
    h, middle = t_next - t, (t + t_next) / 2
    drift, noise = lambda z: process.drift(z, middle), process.diffusion(z, middle)
    if linearisation == "euler":
        return Increment(z + h * drift(z), jnp.sqrt(h) * noise)
    if linearisation == "diagonal":
        if jnp.ndim(noise) == 2:
            raise ValueError(
                "processes.nonlinear.increment: linearisation 'diagonal' needs noise [] or [d]; "
                f"got {jnp.shape(noise)}"
            )
        slope, rate = jax.jvp(drift, (z,), (jnp.ones_like(z),))
        return Increment(
            z + h * phi(1, h * rate) * slope, noise * jnp.sqrt(h * phi(1, 2 * h * rate))
        )
    jacobian = dense(jax.linearize(drift, z)[1], z)
    push = dense(lambda v: squared(noise, v), z)
    moved, cov = _linear_moments(jacobian, drift(z).reshape(-1), push, h)
    return Increment(z + moved.reshape(z.shape), jnp.linalg.cholesky(cov))


def _linear_moments(jacobian, slope, push, h):
    """Mean [d] and covariance [d, d] at time h of dy = (J y + f) dt + dw, Cov dw = push dt, y(0) =
    0.
    """
    eye, tau = jnp.eye(slope.size, dtype=slope.dtype), h / 2.0**_DOUBLINGS

    def series(state, orders):
        terms, sums = state
        phi_term, mean_term, cov_term = terms
        half = jacobian @ cov_term
        terms = (jacobian @ phi_term, jacobian @ mean_term, half + half.T)
        terms = tuple(term * (tau / order) for term, order in zip(terms, orders, strict=True))
        return (terms, jax.tree.map(jnp.add, sums, terms)), None

    first = (eye, slope * tau, push * tau)
    # The means and covariances begin one power of tau later than the propagator.
    ks = jnp.arange(1, _TERMS + 1, dtype=slope.dtype)
    orders = jnp.stack([ks, ks + 1, ks + 1], 1)
    (_, (across, mean, cov)), _ = jax.lax.scan(series, (first, first), orders)
    for _ in range(_DOUBLINGS):
        mean, cov = across @ mean + mean, across @ cov @ across.T + cov
        across = across @ across
    return mean, (cov + cov.T) / 2


def check_linearisation(name, linearisation):
    """Raises ValueError unless a linearisation of increments [*event] is known.

    Source: definition.
    """
    if linearisation not in LINEARISATIONS:
        raise ValueError(
            f"{name}: linearisation must be one of {', '.join(LINEARISATIONS)}; "
            f"got {linearisation!r}"
        )


def factor_times(part, eps):
    """The noise factor @ eps [*event] of an `Increment`, for unit noise eps [*event].

    Source: definition.
    """
    return multiply(part.factor, eps)


def increment_score(part, eps):
    """The gradient -factor^-T eps [*event] of an `Increment`'s log-density at mean + factor @ eps.

    Source: definition.
    """
    if jnp.ndim(part.factor) == 2:
        flat = jax.scipy.linalg.solve_triangular(part.factor, eps.reshape(-1), trans=1, lower=True)
        return -flat.reshape(eps.shape)
    return -eps / part.factor


def reversed_drift(process, score_fn):
    """drift(z, t) = f - G G^T s - div G G^T [*event] of the reverse-time SDE, for score_fn(z, t) =
    grad log p_t(z).

    Source: Anderson 1982; Song et al. 2021, arXiv 2011.13456, equation 16 (appendix A).
    """

    def drift(z, t):
        pull = spread(process, z, t, score_fn(z, t)) + spread_divergence(process, z, t)
        return process.drift(z, t) - pull

    return drift


def flow_field(process, score_fn):
    """field(z, t) = f - (G G^T s + div G G^T) / 2 [*event]: the probability flow, for solvers.ode.

    Source: Song et al. 2021, arXiv 2011.13456, equation 17 (appendix A), derived in appendix D.1.
    """

    def field(z, t):
        pull = spread(process, z, t, score_fn(z, t)) + spread_divergence(process, z, t)
        return process.drift(z, t) - pull / 2

    return field
