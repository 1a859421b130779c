"""Ancestral sampling: each step draws from the exact posterior of the earlier state, given the
predicted data.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import apply, namespace, on_host, total, working_dtype
from jaxgen.processes import num_blocks
from jaxgen.solvers._solve import check_inside, guarded
from jaxgen.solvers.exponential._table import noise_like
from jaxgen.types import Solver


class SdeState(NamedTuple):
    """The running state of a stochastic one-step method. Source: definition."""

    x: Any  # [*event] or [c, *event]


class SdeInfo(NamedTuple):
    """What a stochastic step reports. Source: definition."""

    t: Any  # [] the time reached
    log_weight: Any  # [] log forward(z_t | z_s) - log step(z_s | z_t), s = t_next, nats, or None


class AncestralRow(NamedTuple):
    """One draw from q(z_s | z_t, x0hat), s = t_next. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    propagate: Any  # [] or [c, c]
    weight: Any  # [] or [c], of x0hat
    noise: Any  # [] or [c, c], lower factor of the posterior covariance
    mean: Any  # x0 coefficients ([] or [c]) at t and at t_next
    whiten: Any  # L^-1 ([] or [c, c]) at t and at t_next


def ancestral(process, denoiser):
    """The ancestral Solver: z_s ~ q(z_s | z_t, x0 = x0hat), weak order 1, one evaluation a step; z
    is [*event] or [c, *event].

    With VP it is DDPM sampling with the smaller variance. For blocks the posterior is that of the
    joint Gaussian. Each info reports the step's log Radon-Nikodym weight against the forward
    process: target(z_0) exp(sum) / prior(z_n) weighs a path. Works towards the data only: raises
    ValueError (from plan) on rising stops, or stops outside the process.
    Source: Ho et al. 2020, arXiv 2006.11239, equations 6-7; for blocks and the weights derived
    (Gaussian conditioning).
    """
    denoiser = guarded(process, denoiser)

    def plan(ts):
        check_inside("solvers.sde.ancestral", process, ts, falling=True)
        return on_host(_rows, process, ts)

    def step(key, state, row):
        x0 = denoiser(state.x, row.t)
        noise = noise_like(key, state.x)
        x = total([apply(row.propagate, state.x), apply(row.weight, x0), apply(row.noise, noise)])
        before = _log_normal(row.whiten[0], row.mean[0], state.x, x0)
        after = _log_normal(row.whiten[1], row.mean[1], x, x0)
        return SdeState(x), SdeInfo(row.t_next, before - after)

    return Solver(plan, lambda x, ts: SdeState(x), step, 1, lambda n: n)


def _rows(process, ts):
    xp = namespace(process, ts)
    phi, chol = process.transition(ts)
    if num_blocks(process) is None:
        alpha, sigma = phi, chol
        ratio = alpha[:-1] / alpha[1:]  # Psi = alpha_t / alpha_s with s the later stop of the list
        kept = sigma[1:] ** 2 * ratio / sigma[:-1] ** 2
        noise = sigma[1:] * xp.sqrt(xp.maximum(1 - (ratio * sigma[1:] / sigma[:-1]) ** 2, 0.0))
        mean, whiten = (alpha[:-1], alpha[1:]), (1 / sigma[:-1], 1 / sigma[1:])
        return AncestralRow(
            ts[:-1], ts[1:], kept, alpha[1:] - kept * alpha[:-1], noise, mean, whiten
        )
    column, inverse = phi[..., 0], xp.linalg.inv(chol)
    psi = phi[:-1] @ xp.linalg.inv(phi[1:])
    spread = (
        inverse[:-1] @ psi @ chol[1:]
    )  # L_t^-1 Psi L_s: the posterior is L_s (I - spread^T spread) L_s^T
    kept = chol[1:] @ xp.swapaxes(spread, -1, -2) @ inverse[:-1]
    left = xp.eye(phi.shape[-1])[None] - xp.swapaxes(spread, -1, -2) @ spread
    noise = chol[1:] @ xp.linalg.cholesky(left)
    weight = column[1:] - xp.einsum("nij,nj->ni", kept, column[:-1])
    mean, whiten = (column[:-1], column[1:]), (inverse[:-1], inverse[1:])
    return AncestralRow(ts[:-1], ts[1:], kept, weight, noise, mean, whiten)


def _log_normal(whiten, mean, z, x0):
    """log N(z; mean x0, (whiten^T whiten)^-1) [], up to a constant that cancels between times."""
    z, x0 = jax.tree.map(lambda leaf: leaf.astype(working_dtype(leaf)), (z, x0))
    residual = total([z, jax.tree.map(jnp.negative, apply(mean, x0))])
    leaves = jax.tree.leaves(apply(whiten, residual))
    blocks = 1 if whiten.ndim == 0 else whiten.shape[0]
    log_det = jnp.log(whiten) if whiten.ndim == 0 else jnp.sum(jnp.log(jnp.diag(whiten)))
    return sum(leaf.size // blocks * log_det - jnp.sum(leaf**2) / 2 for leaf in leaves)
