"""The symmetric splitting sampler of critically damped Langevin diffusion."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.math import apply, data_column, lower_inverse, namespace, total
from jaxgen.solvers._tables._noise import remainder
from jaxgen.solvers._tables._table import TableRow, noise_like, table
from jaxgen.solvers.splitting._options import check_blocks, check_stationary, equilibrium, planner
from jaxgen.types import Solver


class SplitRow(NamedTuple):
    """Half a step of the linear part, then the score and the other half. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    lift: Any  # [c, c]
    kick: Any  # [c, c]
    row: Any  # `TableRow`, from the middle of the step on


def sscs(process, denoiser):
    """The symmetric splitting Solver of the reverse SDE in phase space, z [c, *event]: weak order
    1, one evaluation a step.

    Half a step of the process's own time reversal at equilibrium, which is exact; an Euler step of
    what the score differs from that at equilibrium, at the middle of the step; the other half. It
    is exact where z_t is at equilibrium. Raises ValueError on scalar processes and on those without
    an equilibrium; and, from plan, on rising stops or stops outside the process.
    Source: Dockhorn et al. 2022, arXiv 2112.07068, section 3.3 and appendix D; written through the
    forward propagator, for any number of blocks, derived.
    """
    check_blocks("sscs", process)
    check_stationary("sscs", process)
    inner = table(process, denoiser, None, width=1, hold="x0", order=1)

    def step(key, state, row):
        key_first, key_second = jax.random.split(key)
        kick = apply(row.kick, noise_like(key_first, state.x))
        state = state._replace(x=total([apply(row.lift, state.x), kick]))
        return inner.step(key_second, state, row.row)

    plan = planner("sscs", process, _rows)
    return Solver(plan, inner.init, step, 1, lambda n: n)


def _rows(process, ts):
    xp = namespace(process, ts)
    middle = (ts[:-1] + ts[1:]) / 2
    rest = equilibrium(process, ts[0])
    lift, kick = _reversal(process, ts[:-1], middle, rest)
    land, noise = _reversal(process, middle, ts[1:], rest)
    (phi, chol), diffusion = process.transition(middle), process.diffusion(middle)
    whiten = lower_inverse(chol)
    precision = xp.swapaxes(whiten, -1, -2) @ whiten
    push = diffusion @ xp.swapaxes(diffusion, -1, -2) * (ts[:-1] - ts[1:])[:, None, None]
    turn = np.eye(rest.shape[0])[None] + push @ (xp.linalg.inv(rest)[None] - precision)
    pull = push @ precision @ data_column(phi, blocks=True)[..., None]
    row = TableRow(middle, ts[1:], None, land @ turn, (land @ pull)[:, None, :, 0], noise)
    return SplitRow(ts[:-1], ts[1:], lift, kick, row)


def _reversal(process, start, end, rest):
    """P and N [n, c, c] of the time reversal at equilibrium, from times start back to end [n]: with
    the forward Psi from end to start and the covariance X = rest [c, c], P = X Psi^T X^-1.
    """
    xp = namespace(process, start)
    chol = xp.linalg.cholesky(rest)
    psi = process.transition(start)[0] @ xp.linalg.inv(process.transition(end)[0])
    back = (lower_inverse(chol)[None] @ psi @ chol[None]).swapaxes(-1, -2)
    root = xp.broadcast_to(chol, psi.shape)
    return root @ back @ lower_inverse(root), remainder(root, back)
