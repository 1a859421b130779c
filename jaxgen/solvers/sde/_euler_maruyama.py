"""Euler-Maruyama for the reverse-time SDE."""

import numpy as np

from jaxgen.math import data_column, namespace
from jaxgen.processes import channel_at, num_blocks
from jaxgen.solvers._tables._table import TableRow, table
from jaxgen.solvers.sde._options import planner, with_path


def euler_maruyama(process, denoiser):
    """The Euler-Maruyama Solver of dz = (F z - G G^T s) dt + G dw, run towards the data; z is
    [*event] or [c, *event].

    Weak order 1, one evaluation a step. Each info has the step's log-weight against the forward
    process for scalar processes; for blocks, where G is singular, it does not exist. Raises
    ValueError (from plan) on rising stops, or stops outside the process.
    Source: Anderson 1982; Song et al. 2021, arXiv 2011.13456, equation 6; Maruyama 1955.
    """
    plan = planner("euler_maruyama", process, _rows)
    return table(process, denoiser, plan, width=1, hold="x0", order=1)


def _rows(process, ts):
    xp = namespace(process, ts)
    t, dt = ts[:-1], ts[1:] - ts[:-1]
    drift, noise, phi = process.drift(t), process.diffusion(t), process.transition(t)[0]
    whiten = channel_at(process, t).whiten
    if num_blocks(process) is None:
        pull = (noise * whiten) ** 2
        weight = (-pull * phi * dt)[:, None]
        row = TableRow(
            t, ts[1:], None, 1 + (drift + pull) * dt, weight, noise * xp.sqrt(xp.abs(dt))
        )
        return with_path(process, ts, row, 1.0)
    dt = dt[:, None, None]
    pull = noise @ xp.swapaxes(noise, -1, -2) @ xp.swapaxes(whiten, -1, -2) @ whiten
    weight = -xp.einsum("nij,nj->ni", pull, data_column(phi, blocks=True))[:, None] * dt
    eye = np.eye(phi.shape[-1])[None]
    return TableRow(t, ts[1:], None, eye + (drift + pull) * dt, weight, noise * xp.sqrt(xp.abs(dt)))
