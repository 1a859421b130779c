"""Euler-Maruyama for the reverse-time SDE."""

from typing import Any, NamedTuple

import numpy as np

from jaxgen.math import apply, data_column, namespace, on_host, total
from jaxgen.processes import channel_at, num_blocks
from jaxgen.solvers._solve import check_inside, guarded
from jaxgen.solvers.exponential._table import noise_like
from jaxgen.solvers.sde._ancestral import SdeInfo, SdeState
from jaxgen.types import Solver


class EulerRow(NamedTuple):
    """One Euler-Maruyama step of the reverse SDE. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    propagate: Any  # [] or [c, c]: I + (F + G G^T Sigma^-1) dt
    weight: Any  # [] or [c], of x0hat
    noise: Any  # [] or [c, c]: G sqrt|dt|


def euler_maruyama(process, denoiser):
    """The Euler-Maruyama Solver of dz = (F z - G G^T s) dt + G dw, run towards the data; z is
    [*event] or [c, *event].

    Weak order 1, one evaluation a step. Its path weights do not exist where G is singular, and are
    not reported: `ancestral` has them. Raises ValueError (from plan) on rising stops, or stops
    outside the process.
    Source: Anderson 1982; Song et al. 2021, arXiv 2011.13456, equation 6; Maruyama 1955.
    """
    denoiser = guarded(process, denoiser)

    def plan(ts):
        check_inside("solvers.sde.euler_maruyama", process, ts, falling=True)
        return on_host(_rows, process, ts)

    def step(key, state, row):
        x0, noise = denoiser(state.x, row.t), noise_like(key, state.x)
        x = total([apply(row.propagate, state.x), apply(row.weight, x0), apply(row.noise, noise)])
        return SdeState(x), SdeInfo(row.t_next, None)

    return Solver(plan, lambda x, ts: SdeState(x), step, 1, lambda n: n)


def _rows(process, ts):
    xp = namespace(process, ts)
    t, dt = ts[:-1], ts[1:] - ts[:-1]
    drift, noise, phi = process.drift(t), process.diffusion(t), process.transition(t)[0]
    whiten = channel_at(process, t).whiten
    if num_blocks(process) is None:
        pull = (noise * whiten) ** 2
        return EulerRow(
            t, ts[1:], 1 + (drift + pull) * dt, -pull * phi * dt, noise * xp.sqrt(xp.abs(dt))
        )
    dt = dt[:, None, None]
    pull = noise @ xp.swapaxes(noise, -1, -2) @ xp.swapaxes(whiten, -1, -2) @ whiten
    weight = -xp.einsum("nij,nj->ni", pull, data_column(phi, blocks=True)) * dt[:, 0]
    eye = np.eye(phi.shape[-1])[None]
    return EulerRow(t, ts[1:], eye + (drift + pull) * dt, weight, noise * xp.sqrt(xp.abs(dt)))
