"""What a linear process contributes to an exponential integrator, computed before the loop.

The probability-flow ODE dz = F z - G G^T s / 2 becomes, with a propagator U and a force V,

    z(b) = U(b) U(a)^-1 z(a) + U(b) int_a^b dV held(t),

    hold = "eps":  U = Phi,  V = Phi^-1 R,   held = R^-1 (z - Phi_0 x0hat), the whitened noise
    prediction, hold = "x0":   U = R,    V = R^-1 Phi_0,  held = x0hat,

where R R^T = Sigma and R' = (F + G G^T Sigma^-1 / 2) R: both forces are total derivatives. For a
scalar process R = sigma, Phi = alpha, so V = exp(-lambda) or exp(lambda) with lambda = log(alpha /
sigma). Source: derived; Zhang et al. 2023, arXiv 2206.05564 (R for blocks), Lu et al. 2022, arXiv
2206.00927, equation 3.4 and 2211.01095, equation 8 (scalars).
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.math import (
    channel_log_gain,
    data_column,
    gauss_legendre,
    invert,
    lower_inverse,
    namespace,
)
from jaxgen.processes import num_blocks

NODES = 20
_PARTS = 20  # hops between quadrature points are cut until there are as many as in 20 steps
_GAUSS = np.sqrt(15.0)
_STAGES = 0.5 + np.array([-1, 0, 1]) * _GAUSS / 10
_BUTCHER = np.array(
    [
        [5 / 36, 2 / 9 - _GAUSS / 15, 5 / 36 - _GAUSS / 30],
        [5 / 36 + _GAUSS / 24, 2 / 9, 5 / 36 - _GAUSS / 24],
        [5 / 36 + _GAUSS / 30, 2 / 9 + _GAUSS / 15, 5 / 36],
    ]
)
_FINAL = np.array([5 / 18, 4 / 9, 5 / 18])


class Frame(NamedTuple):
    """Propagators and forces on a grid of n steps, with NODES quadrature points inside each.

    Source: definition.
    """

    clock: Any  # [n + 1] the variable in which predictions are polynomial
    phi: Any  # [n + 1, ...]
    root: Any  # [n + 1, ...] R
    base: Any  # [n + 1, ...] U
    step: Any  # [n, ...] U(b) U(a)^-1
    force: Any  # [n, ...] V(b) - V(a)
    inner: Any  # [n, NODES, ...] V(node) - V(a), nodes Gauss-Legendre in the clock


def frame(process, ts, *, hold, clock):
    """The `Frame` of a process on stops ts [n + 1] for hold "eps" or "x0" and clock "t", "log_snr"
    or "rho".

    Works on NumPy float64 and on traced arrays. Source: derived.
    """
    if num_blocks(process) is None:
        return _scalar_frame(process, ts, hold, clock)
    return _block_frame(process, ts, hold, clock)


def log_gain(process, t):
    """Lambda = log(gain) [...] of a scalar or block process: log(alpha / sigma), or half of log
    gamma.

    Source: definition.
    """
    return channel_log_gain(*process.transition(t), blocks=num_blocks(process) is not None)


def _scalar_frame(process, ts, hold, clock):
    xp = namespace(process, ts)
    alpha, sigma = process.transition(ts)
    base, other = (alpha, sigma) if hold == "eps" else (sigma, alpha)
    nodes, _ = gauss_legendre(NODES)
    force = other / base
    if clock == "t":
        u = ts
        inner = process.transition(_between(ts, nodes))
        inner = inner[1] / inner[0] if hold == "eps" else inner[0] / inner[1]
    else:
        u = xp.log(alpha / sigma) if clock == "log_snr" else sigma / alpha
        points = _between(u, nodes)
        ratio = xp.exp(-points) if clock == "log_snr" else points
        inner = ratio if hold == "eps" else 1 / ratio
    step = base[1:] / base[:-1]
    return Frame(u, alpha, sigma, base, step, force[1:] - force[:-1], inner - force[:-1, None])


def _block_frame(process, ts, hold, clock):
    xp = namespace(process, ts)
    nodes, _ = gauss_legendre(NODES)
    if clock == "t":
        u, times = ts, _between(ts, nodes)
    else:
        lam = log_gain(process, ts)
        u = lam if clock == "log_snr" else xp.exp(-lam)
        points = _between(u, nodes)
        wanted = points if clock == "log_snr" else -xp.log(points)
        times = invert(lambda t: log_gain(process, t), wanted, ts[:-1, None], ts[1:, None])
    stops = xp.concatenate([ts[:-1, None], times, ts[1:, None]], 1)
    moved = _transport(process, stops)  # [n, NODES + 2, c, c]: R(stop) R(a)^-1
    phi = process.transition(stops)[0]
    grid_phi, chol = process.transition(ts)
    root = _accumulate(moved[:, -1], chol[0])
    whole = moved @ root[:-1, None]  # R at every stop
    if hold == "eps":
        force = xp.linalg.solve(phi, whole)
        base, step = grid_phi, grid_phi[1:] @ xp.linalg.inv(grid_phi[:-1])
    else:
        force = xp.linalg.solve(whole, phi[..., :1])[..., 0]
        base, step = root, moved[:, -1]
    force = force - force[:, :1]
    return Frame(u, grid_phi, root, base, step, force[:, -1], force[:, 1:-1])


def _between(u, nodes):
    """Gauss-Legendre points [n, q] inside the intervals of u [n + 1]."""
    return u[:-1, None] + (u[1:] - u[:-1])[:, None] * nodes[None]


def _transport(process, stops):
    """R(stop) R(a)^-1 [n, m, c, c] at stops [n, m].

    R = L Q with an orthogonal Q, Q' = S Q, by three-stage Gauss collocation (order 6) in log t: it
    keeps Q orthogonal, so that R R^T = Sigma whatever the steps. Few steps are cut into more parts.
    """
    xp = namespace(process, stops)
    parts = math.ceil(_PARTS / stops.shape[0])
    shares = np.arange(parts)[None, None] / parts
    logs = xp.log(stops)
    cuts = logs[:, :-1, None] + (logs[:, 1:] - logs[:, :-1])[..., None] * shares
    cuts = xp.concatenate([cuts.reshape(stops.shape[0], -1), logs[:, -1:]], 1)
    turns = _accumulate(xp.moveaxis(_turns(process, cuts), 1, 0))[::parts]
    chol = process.transition(stops)[1]
    return chol @ xp.moveaxis(turns, 0, 1) @ lower_inverse(chol[:, :1])


def _turns(process, logs):
    """Q(b) Q(a)^-1 [n, m - 1, c, c] between neighbours of the log-times logs [n, m]."""
    xp = namespace(process, logs)
    gaps = logs[:, 1:] - logs[:, :-1]
    times = xp.exp(logs[:, :-1, None] + gaps[..., None] * _STAGES[None, None])
    scaled = (gaps[..., None] * times)[..., None, None] * _rotation(process, times)
    c = scaled.shape[-1]
    eye = np.eye(c)[None, None]
    rows = [
        xp.concatenate(
            [(i == j) * eye - _BUTCHER[i, j] * scaled[..., i, :, :] for j in range(3)], -1
        )
        for i in range(3)
    ]
    slopes = xp.linalg.solve(
        xp.concatenate(rows, -2), xp.concatenate([scaled[..., i, :, :] for i in range(3)], -2)
    )
    return eye + sum(_FINAL[i] * slopes[..., i * c : (i + 1) * c, :] for i in range(3))


def _rotation(process, t):
    """S [..., c, c], skew, of Q' = S Q: with M = L^-1 (F + G G^T Sigma^-1 / 2) L the triangular
    L^-1 L' takes M + M^T, and S has the entries of M above the diagonal.
    """
    xp = namespace(process, t)
    drift, noise, chol = process.drift(t), process.diffusion(t), process.transition(t)[1]
    inverse = lower_inverse(chol)
    whitened = inverse @ noise
    generator = inverse @ drift @ chol + whitened @ xp.swapaxes(whitened, -1, -2) / 2
    above = xp.triu(generator, 1)
    return above - xp.swapaxes(above, -1, -2)


def _accumulate(hops, first=None):
    """The running products [n + 1, ..., c, c] first, hops[0] first, hops[1] hops[0] first, ...

    Without `first` they begin with the identity.
    """
    xp = namespace(hops, first)
    if first is None:
        first = xp.broadcast_to(xp.eye(hops.shape[-1], dtype=hops.dtype), hops[0].shape)
    if xp is np:
        products = [first]
        for hop in hops:
            products.append(hop @ products[-1])
        return np.stack(products)
    return jax.numpy.concatenate(
        [first[None], jax.lax.scan(lambda product, hop: (hop @ product,) * 2, first, hops)[1]]
    )


def columns(process, phi):
    """The x0 coefficients [m] or [m, c] of Phi [m, ...]. Source: definition."""
    return data_column(phi, blocks=num_blocks(process) is not None)
