"""Explicit Runge-Kutta steps in the variable where the linear part is gone: dy/du = V'(u) held."""

import numpy as np

from jaxgen.math import invert, namespace
from jaxgen.processes import num_blocks
from jaxgen.solvers._tables._frame import columns, frame, log_gain
from jaxgen.solvers._tables._moments import carry
from jaxgen.solvers._tables._options import CLOCKS, HOLDS, choose, planner
from jaxgen.solvers._tables._table import Stages, reading, rows_of_stages, table

# Order, weights of the stages (the abscissae are their row sums), weights of the step.
TABLEAUS = {
    "midpoint": (2, ((), (1 / 2,)), (0, 1)),
    "heun": (2, ((), (1,)), (1 / 2, 1 / 2)),
    "kutta3": (3, ((), (1 / 2,), (-1, 2)), (1 / 6, 2 / 3, 1 / 6)),
    "rk4": (4, ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


def rho_rk(process, denoiser, *, method="rk4", hold="eps", clock="rho"):
    """The Runge-Kutta Solver of `method`, "midpoint", "heun" (order 2), "kutta3" or "rk4", on dy/du
    = V'(u) held with y = U^-1 z: rhoRK of DEIS; z is [*event] or [c, *event].

    As many evaluations a step as stages. Hold "eps" and clock "rho" make V' = 1 for scalar
    processes; others, and blocks, multiply each stage by V'. What the rule leaves of V(b) - V(a) is
    shared among the weights of the step, and what a stage leaves goes to the first of its weights,
    so that all are exact for a constant prediction and the order stays. Raises ValueError on
    options outside these, or stops outside the process.
    Source: Zhang and Chen 2023, arXiv 2204.13902, section 3.3; Kutta 1901; for blocks derived.
    """
    choose("rho_rk", "method", method, tuple(TABLEAUS))
    choose("rho_rk", "hold", hold, HOLDS)
    choose("rho_rk", "clock", clock, CLOCKS)
    return _explicit("rho_rk", process, denoiser, method, hold, clock)


def edm_heun(process, denoiser):
    """The second-order Heun Solver of EDM, two evaluations a step, for z [*event] or [c, *event].

    It is `rho_rk(method="heun")`: for a scalar process Heun's method in sigma / alpha on x / alpha.
    Raises ValueError on stops outside the process. Deviation: the paper ends with an Euler step to
    sigma = 0, here the grid ends at t_min. Source: Karras et al. 2022, arXiv 2206.00364, algorithm
    1.
    """
    return _explicit("edm_heun", process, denoiser, "heun", "eps", "rho")


def _explicit(name, process, denoiser, method, hold, clock):
    order, inner, final = TABLEAUS[method]
    s = len(inner)
    abscissae = np.array([sum(row) for row in inner])

    def build(process, ts):
        xp = namespace(process, ts)
        n = ts.shape[0] - 1
        u = _clock(process, ts, clock)
        times = stage_times(process, ts, u, abscissae, clock)
        stops = xp.concatenate([times.reshape(-1), ts[-1:]])
        parts = frame(process, stops, hold=hold, clock="t")
        split = lambda leaf: leaf.reshape(n, s, *leaf.shape[1:])
        wide = lambda leaf, like: leaf.reshape(leaf.shape + (1,) * (like.ndim - leaf.ndim))
        speed = _speed(process, stops[:-1], parts, hold, clock)
        speed = split(speed * wide((u[1:] - u[:-1]).repeat(s), speed))
        force = split(parts.force)
        rows = []
        for i in range(1, s + 1):  # on held_(i-1) ... held_0, as the engine orders them
            row = inner[i] if i < s else final
            left = force[:, :i].sum(1) - sum(w * speed[:, j] for j, w in enumerate(row))
            shares = row if i == s else (1,) + (0,) * (i - 1)
            latest = [row[j] * speed[:, j] + shares[j] * left for j in range(i - 1, -1, -1)]
            rows.append(xp.stack(latest + [0 * speed[:, 0]] * (s - i), 1))
        return staged(process, ts, times, parts, xp.stack(rows, 1), hold)

    plan = planner(name, process, build)
    return table(
        process, denoiser, plan, width=s, hold=hold, order=order, evaluations=lambda n: s * n
    )


def staged(process, ts, times, parts, moments, hold):
    """The rows of a Runge-Kutta method with stages at times [n, s], from a frame on the stops of
    all of them and moments of dV [n, s, s, ...] on held_(i-1) ... held_0 up to stage i.

    Source: definition.
    """
    xp = namespace(process, ts)
    n, s = times.shape
    starts = parts.base[:-1].reshape(n, s, *parts.base.shape[1:])
    ends = xp.concatenate([starts, parts.base[s::s][:, None]], 1)
    flat = lambda leaf: leaf.reshape(n * s, *leaf.shape[2:])
    weights = carry(flat(ends[:, 1:]), flat(moments)).reshape(moments.shape)
    read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
    return rows_of_stages(process, ts, Stages(times, ends, weights), read)


def stage_times(process, ts, u, abscissae, clock):
    """The times [n, s] at which a clock u [n + 1] has passed the shares `abscissae` [s] of each
    step of ts [n + 1].

    Source: definition.
    """
    xp = namespace(process, ts, u)
    points = u[:-1, None] + (u[1:] - u[:-1])[:, None] * abscissae[None]
    if clock == "t":
        return points
    wanted = points if clock == "log_snr" else -xp.log(points)
    times = invert(lambda t: log_gain(process, t), wanted, ts[:-1, None], ts[1:, None])
    times = xp.where(abscissae[None] == 0, ts[:-1, None], times)
    return xp.where(abscissae[None] == 1, ts[1:, None], times)


def _clock(process, ts, clock):
    if clock == "t":
        return ts
    lam = log_gain(process, ts)
    return lam if clock == "log_snr" else namespace(lam).exp(-lam)


def _speed(process, t, parts, hold, clock):
    """V' = dV/du [m, ...] at stops t [m]. With A = G G^T Sigma^-1 / 2: dV/dt = Phi^-1 A R, or
    -R^-1 A Phi_0, and dlambda/dt = -|G^T Sigma^-1 Phi_0|^2 / (2 gamma).
    """
    xp = namespace(process, t)
    phi, root = parts.phi[:-1], parts.root[:-1]
    column = columns(process, phi)
    if num_blocks(process) is None:
        # V = exp(-lambda) or exp(lambda): only clock t needs the derivative of a schedule.
        gain = column / root
        force = 1 / gain if hold == "eps" else gain
        if clock != "t":
            pace = 1.0 if clock == "log_snr" else -1 / gain
            return (-force if hold == "eps" else force) / pace
        half = process.diffusion(t) ** 2 / (2 * root**2)
        return half * force if hold == "eps" else -half * force
    noise = process.diffusion(t)
    inverse = xp.linalg.inv(root)
    pull = xp.swapaxes(noise, -1, -2) @ xp.swapaxes(inverse, -1, -2) @ inverse  # G^T Sigma^-1
    seen = xp.einsum("mij,mj->mi", pull, column)
    white = xp.einsum("mij,mj->mi", inverse, column)
    gain = xp.sqrt(xp.sum(white**2, -1))
    pace = -xp.sum(seen**2, -1) / (2 * gain**2)
    if hold == "eps":
        slope = xp.linalg.solve(phi, noise @ pull @ root) / 2
    else:
        slope = -xp.einsum("mij,mjk,mk->mi", inverse, noise, seen) / 2
    wide = lambda leaf: leaf.reshape(-1, *(1,) * (slope.ndim - 1))
    if clock == "t":
        return slope
    return slope / wide(pace if clock == "log_snr" else -pace / gain)
