"""Velocity Verlet for the probability flow in phase space."""

import numpy as np

from jaxgen.math import data_column, is_concrete, lower_inverse, namespace
from jaxgen.processes import num_blocks
from jaxgen.solvers._tables._table import TableRow, table
from jaxgen.solvers.splitting._options import check_blocks, planner


def verlet(process, denoiser):
    """The velocity Verlet Solver of the probability flow in phase space, z [2, *event]: order 1,
    n + 1 evaluations for n steps.

    Half a step of the velocity, a step of the position, half a step of the velocity; the score is
    evaluated once, after the position, and kept for the next half step. Raises ValueError unless
    the process has two blocks, of which the velocity alone is noised and moves the position; and,
    from plan, on rising stops or stops outside the process.
    Source: Pandey et al. 2024, arXiv 2310.07894, section 4 (reduced velocity Verlet). Deviation:
    the score's own linear part moves with the velocity within a half step, only x0hat is kept.
    """
    name = "verlet"
    check_blocks(name, process)
    if num_blocks(process) != 2:
        raise ValueError(
            f"solvers.splitting.{name}: the process must have two blocks; got {num_blocks(process)}"
        )
    _check_phase_space(name, process)
    plan = planner(name, process, _rows)
    return table(process, denoiser, plan, width=1, hold="x0", order=1, evaluations=lambda n: n + 1)


def _check_phase_space(name, process):
    if not is_concrete(process):
        return
    t = np.float64(process.t_max)
    drift, noise = np.asarray(process.drift(t)), np.asarray(process.diffusion(t))
    if drift[0, 0] != 0 or np.any(noise[0] != 0) or noise[1, 0] != 0:
        raise ValueError(
            f"solvers.splitting.{name}: only the velocity must be noised and move the position; "
            f"got drift {drift.tolist()} and diffusion {noise.tolist()}"
        )


def _rows(process, ts):
    """Row i moves from the evaluation at stop i, where the position is already and the velocity is
    half a step behind, to that at stop i + 1; the first and the last are cut.
    """
    xp = namespace(process, ts)
    gaps = ts[1:] - ts[:-1]
    zero = 0 * gaps[:1]
    arrive, leave = xp.concatenate([zero, gaps]), xp.concatenate([gaps, zero])
    drift, noise, (phi, chol) = process.drift(ts), process.diffusion(ts), process.transition(ts)
    whiten = lower_inverse(chol)
    pull = noise @ xp.swapaxes(noise, -1, -2) @ xp.swapaxes(whiten, -1, -2) @ whiten / 2
    eye = xp.eye(2, dtype=ts.dtype)[None]
    lower, upper = (
        np.array([[0.0, 0.0], [1.0, 1.0]])[None],
        np.array([[0.0, 1.0], [0.0, 0.0]])[None],
    )
    force = (drift + pull) * lower  # dv = force z - push x0hat
    push = (pull @ data_column(phi, blocks=True)[..., None]) * lower[..., 1:]
    half = lambda share: (
        eye + force * (share / 2)[:, None, None],
        -push * (share / 2)[:, None, None],
    )
    (turn, added), (again, more) = half(arrive), half(leave)
    middle = process.drift(xp.concatenate([(ts[:-1] + ts[1:]) / 2, ts[-1:]]))
    move = eye + middle * upper * leave[:, None, None]
    weights = move @ (again @ added + more)
    ends = xp.concatenate([ts[1:], ts[-1:]])
    return TableRow(ts, ends, None, move @ again @ turn, weights[:, None, :, 0])
