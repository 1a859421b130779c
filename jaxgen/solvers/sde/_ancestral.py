"""Ancestral sampling: each step draws from the exact posterior of the earlier state, given the
predicted data.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import (
    apply,
    contract,
    lower_inverse,
    namespace,
    semidefinite_factor,
    square_root,
    total,
)
from jaxgen.processes import is_diagonal, log_snr, log_widening, num_blocks
from jaxgen.solvers._tables._noise import moved_weight, remainder
from jaxgen.solvers._tables._table import TableRow, noise_like, table
from jaxgen.solvers.sde._options import planner, with_path


class AncestralRow(NamedTuple):
    """A step whose variance is a function of the state. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    table: Any  # `TableRow` of the posterior
    direction: Any  # [] or [c], the unit noise along which the posterior moves with x0
    log_widening: Any  # [] log(beta / beta_tilde) along it


def ancestral(process, denoiser, *, variance=0.0, along=None):
    """The ancestral Solver: z_s ~ q(z_s | z_t, x0 = x0hat), weak order 1, one evaluation a step; z
    is [*event] or [c, *event].

    With VP it is DDPM sampling with the smaller variance. For blocks the posterior is that of the
    joint Gaussian. Each info reports the step's log Radon-Nikodym weight against the forward
    process: target(z_0) exp(sum) / prior(z_n) weighs a path. Works towards the data only: raises
    ValueError (from plan) on rising stops, or stops outside the process.
    Args: variance: the fraction v [] of exp(v log beta + (1 - v) log beta_tilde), the variance
        along the channel's noise; 0 is the posterior's, 1 is right for standard normal data; or
        v(z, t) -> [*event], as learned by `losses.score.hybrid`, which reports no weights;
        along(z, t) -> x0hat [*event], another denoiser that draws the path, through which no
        gradient goes: the weights stay those of `denoiser`, on that path.
    Source: Ho et al. 2020, arXiv 2006.11239, equations 6-7; Nichol and Dhariwal 2021, arXiv
    2102.09672, equation 15; for blocks and the weights derived (Gaussian conditioning).
    """
    if callable(variance):
        if along is not None:
            raise ValueError("solvers.sde.ancestral: along needs a variance that is a number")
        return _learned(process, denoiser, variance)
    plan = planner("ancestral", process, _weighed, variance)
    make = lambda denoiser: table(process, denoiser, plan, width=1, hold="x0", order=1)
    return make(denoiser) if along is None else _followed(process, make(denoiser), make(along))


def _followed(process, base, leader):
    """The Solver that walks as `leader` does and weighs each step as one of `base`."""
    entries = is_diagonal(process)

    def step(key, state, row):
        mean, info = base.step(None, state, row._replace(noise=None, path=None))
        after = jax.lax.stop_gradient(leader.step(key, state, row)[0].x)
        return mean._replace(x=after), info._replace(
            log_weight=moved_weight(row, state.x, mean.x, after, entries=entries)
        )

    return base._replace(step=step)


def _learned(process, denoiser, variance):
    """The ancestral Solver with a variance v(z, t) [*event]."""
    base, entries = ancestral(process, denoiser), is_diagonal(process)

    def build(process, ts):
        row, (direction, wider) = _rows(process, ts), _widening(process, ts)
        return AncestralRow(row.t, row.t_next, row, direction(row), wider)

    def step(key, state, row):
        posterior = row.table._replace(t=row.t, t_next=row.t_next, noise=None)
        after, info = base.step(key, state, posterior)
        xi = noise_like(key, state.x)
        along = contract(row.direction, xi, entries=entries)
        wider = jnp.expm1(variance(state.x, row.t) * row.log_widening / 2).astype(along.dtype)
        noise = total([xi, apply(row.direction, wider * along, entries=entries)])
        moved = total([after.x, apply(row.table.noise, noise, entries=entries)])
        return after._replace(x=moved), info

    return base._replace(plan=planner("ancestral", process, build), step=step)


def _weighed(process, ts, variance):
    xp, row = namespace(process, ts, variance), _rows(process, ts)
    direction, wider = _widening(process, ts)
    noise = row.noise
    if num_blocks(process) is None:
        noise = noise * xp.exp(variance * wider / 2)
    else:
        along = direction(row)
        outer = along[:, :, None] * along[:, None, :]
        grown = xp.expm1(variance * wider)[:, None, None] * outer
        noise = noise @ semidefinite_factor(xp.eye(along.shape[1])[None] + grown)
    return with_path(process, ts, row._replace(noise=noise), 1.0)


def _widening(process, ts):
    """direction(row) [n] or [n, c] of the noise along which a row's posterior moves with x0, and
    the log of the widening [n] along it.
    """
    levels = log_snr(process, ts)

    def direction(row):
        pull = row.weights[:, 0]
        if num_blocks(process) is None:
            return namespace(pull).sign(pull / row.noise)
        moved = (lower_inverse(row.noise) @ pull[..., None])[..., 0]
        return moved / (moved**2).sum(-1, keepdims=True) ** 0.5

    return direction, log_widening(levels[:-1], levels[1:])


def _rows(process, ts):
    xp = namespace(process, ts)
    phi, chol = process.transition(ts)
    if num_blocks(process) is None:
        alpha, sigma = phi, chol
        ratio = alpha[:-1] / alpha[1:]  # Psi = alpha_t / alpha_s with s the later stop of the list
        kept = sigma[1:] ** 2 * ratio / sigma[:-1] ** 2
        noise = sigma[1:] * square_root(1 - (ratio * sigma[1:] / sigma[:-1]) ** 2)
        weight = alpha[1:] - kept * alpha[:-1]
    else:
        column, inverse = phi[..., 0], xp.linalg.inv(chol)
        psi = phi[:-1] @ xp.linalg.inv(phi[1:])
        # L_s^T Psi^T L_t^-T: the posterior is L_s (1 - spread spread^T) L_s^T
        spread = xp.swapaxes(inverse[:-1] @ psi @ chol[1:], -1, -2)
        kept = chol[1:] @ spread @ inverse[:-1]
        noise = remainder(chol[1:], spread)
        weight = column[1:] - xp.einsum("nij,nj->ni", kept, column[:-1])
    return TableRow(ts[:-1], ts[1:], None, kept, weight[:, None], noise)
