"""What a linear process contributes to an exponential integrator, computed before the loop.

The probability-flow ODE dz = F z - G G^T s / 2 becomes, with a propagator U and a force V,

    z(b) = U(b) U(a)^-1 z(a) + U(b) int_a^b dV held(t),

    hold = "eps":  U = Phi,  V = Phi^-1 R,   held = R^-1 (z - Phi_0 x0hat), the whitened noise
    prediction, hold = "x0":   U = R,    V = R^-1 Phi_0,  held = x0hat,

where R R^T = Sigma and R' = (F + G G^T Sigma^-1 / 2) R: both forces are total derivatives. For a
scalar process R = sigma, Phi = alpha, so V = exp(-lambda) or exp(lambda) with lambda = log(alpha /
sigma).

The reverse-time family of noise level tau, dz = (F z - (1 + tau^2) / 2 G G^T s) dt + tau G dw, has
the marginals of the flow (tau = 0) and of the reverse SDE (tau = 1). There hold = "x0" has U =
R_tau, R_tau' = (F + (1 + tau^2) / 2 G G^T Sigma^-1) R_tau, and V = R_tau^-1 Phi_0, still a total
derivative; hold = "eps" has (1 + tau^2) V. A step adds N noise, with N N^T = Sigma_b - Psi Sigma_a
Psi^T for Psi = R_tau(b) R_tau(a)^-1, and tau^2 (Psi Sigma_a Psi^T - Sigma_b) for Psi = Phi(b)
Phi(a)^-1.

Source: derived; Zhang et al. 2023, arXiv 2206.05564 (R and tau for blocks), Lu et al. 2022, arXiv
2206.00927, equation 3.4 and 2211.01095, equation 8 (scalars), Xue et al. 2023, arXiv 2309.05019,
proposition 4.1 (tau).
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
    is_concrete,
    lower_inverse,
    namespace,
    semidefinite_factor,
    square_root,
)
from jaxgen.processes import num_blocks
from jaxgen.solvers._tables._noise import remainder

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
    """Propagators and forces on a grid of n steps, with m quadrature points inside each.

    Source: definition.
    """

    clock: Any  # [n + 1] the variable in which predictions are polynomial
    phi: Any  # [n + 1, ...]
    root: Any  # [n + 1, ...] R
    base: Any  # [n + 1, ...] U; with noise and hold "x0" that of the step arriving there, 1
    step: Any  # [n, ...] U(b) U(a)^-1
    force: Any  # [n, ...] V(b) - V(a)
    inner: Any  # [n, m, ...] V(node) - V(a), nodes Gauss-Legendre in the clock
    noise: Any = None  # [n, ...] N, or None: no noise


def frame(process, ts, *, hold, clock, tau=0.0, nodes=NODES):
    """The `Frame` of a process on stops ts [n + 1] for hold "eps" or "x0" and clock "t", "log_snr"
    or "rho"; noise level tau [] or [n], one for each step; `nodes` quadrature points a step.

    Works on NumPy float64 and on traced arrays. Source: derived.
    """
    tau = None if noiseless(tau) else tau + 0 * ts[1:]
    if num_blocks(process) is None:
        return _scalar_frame(process, ts, hold, clock, tau, nodes)
    return _block_frame(process, ts, hold, clock, tau, nodes)


def noiseless(tau):
    """Whether a noise level [] or [n] is known to be 0. Source: definition."""
    return is_concrete(tau) and not np.any(tau)


def log_gain(process, t):
    """Lambda = log(gain) [...] of a scalar or block process: log(alpha / sigma), or half of log
    gamma.

    Source: definition.
    """
    return channel_log_gain(*process.transition(t), blocks=num_blocks(process) is not None)


def _scalar_frame(process, ts, hold, clock, tau, nodes):
    xp = namespace(process, ts)
    alpha, sigma = process.transition(ts)
    base, other = (alpha, sigma) if hold == "eps" else (sigma, alpha)
    nodes, _ = gauss_legendre(nodes)
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
    if tau is not None and hold == "x0":
        return _noisy_scalars(Frame(u, alpha, sigma, base, step, force, inner), tau)
    gained = force[1:] - force[:-1], inner - force[:-1, None]
    if tau is None:
        return Frame(u, alpha, sigma, base, step, *gained)
    spread = square_root(force[:-1] ** 2 - force[1:] ** 2)
    drift = 1 + tau**2
    gained = drift * gained[0], drift[:, None] * gained[1]
    return Frame(u, alpha, sigma, base, step, *gained, tau * alpha[1:] * spread)


def _noisy_scalars(still, tau):
    """The frame of level tau [n] for hold "x0": with g = alpha / sigma, R_tau = sigma g^(-tau^2),
    in units of its value at each arrival, where g may be 0 at the first stop. `still` holds g at
    the stops and at the nodes as force and inner.
    """
    gain, inner = still.force, still.inner
    xp = namespace(gain, tau)
    power, end = tau**2, still.root[1:]
    shrink = (gain[:-1] / gain[1:]) ** power
    start = end * gain[:-1] * shrink
    grown = end[:, None] * inner * (inner / gain[1:, None]) ** power[:, None]
    fall = 2 * power * (xp.log(gain[:-1]) - xp.log(gain[1:]))
    return still._replace(
        base=xp.ones_like(gain),
        step=still.step * shrink,
        force=end * gain[1:] - start,
        inner=grown - start[:, None],
        noise=end * square_root(-xp.expm1(fall)),
    )


def _block_frame(process, ts, hold, clock, tau, nodes):
    xp = namespace(process, ts)
    nodes, _ = gauss_legendre(nodes)
    if clock == "t":
        u, times = ts, _between(ts, nodes)
    else:
        lam = log_gain(process, ts)
        u = lam if clock == "log_snr" else xp.exp(-lam)
        points = _between(u, nodes)
        wanted = points if clock == "log_snr" else -xp.log(points)
        times = invert(lambda t: log_gain(process, t), wanted, ts[:-1, None], ts[1:, None])
    stops = xp.concatenate([ts[:-1, None], times, ts[1:, None]], 1)
    # [n, m + 2, c, c]: R(stop) R(a)^-1, or onwards R(b) R(stop)^-1
    moved = _transport(process, stops, tau if hold == "x0" else None)
    phi = process.transition(stops)[0]
    grid_phi, chol = process.transition(ts)
    if hold == "x0" and tau is not None:
        root, step, force = chol, moved[:, 0], (moved @ phi[..., :1])[..., 0]
        base = xp.broadcast_to(xp.eye(step.shape[-1], dtype=step.dtype), root.shape)
    else:
        root = _accumulate(moved[:, -1], chol[0])
        whole = moved @ root[:-1, None]  # R at every stop
        if hold == "eps":
            force = xp.linalg.solve(phi, whole)
            base, step = grid_phi, grid_phi[1:] @ xp.linalg.inv(grid_phi[:-1])
        else:
            force = xp.linalg.solve(whole, phi[..., :1])[..., 0]
            base, step = root, moved[:, -1]
    force = force - force[:, :1]
    noise = None
    if tau is not None:
        spread = lower_inverse(chol[1:]) @ step @ chol[:-1]
        if hold == "eps":
            force = force * (1 + tau**2)[:, None, None, None]
            squared = spread @ xp.swapaxes(spread, -1, -2) - np.eye(spread.shape[-1])[None]
            noise = tau[:, None, None] * (chol[1:] @ semidefinite_factor(squared))
        else:
            noise = remainder(chol[1:], spread)
    return Frame(u, grid_phi, root, base, step, force[:, -1], force[:, 1:-1], noise)


def _between(u, nodes):
    """Gauss-Legendre points [n, q] inside the intervals of u [n + 1]."""
    return u[:-1, None] + (u[1:] - u[:-1])[:, None] * nodes[None]


def _transport(process, stops, tau):
    """R(stop) R(a)^-1 [n, m, c, c] at stops [n, m] from a to b; with noise levels tau [n] onwards,
    R_tau(b) R_tau(stop)^-1, as going back would undo its decay.

    R = L Q with an orthogonal Q, Q' = S Q, by three-stage Gauss collocation (order 6) in log t: it
    keeps Q orthogonal, so that R R^T = Sigma whatever the steps. Few steps are cut into more parts.
    R_tau = L Q with Q' = (S + tau^2 / 2 W W^T) Q, W = L^-1 G.
    """
    xp = namespace(process, stops)
    parts = math.ceil(_PARTS / stops.shape[0])
    shares = np.arange(parts)[None, None] / parts
    logs = xp.log(stops)
    cuts = logs[:, :-1, None] + (logs[:, 1:] - logs[:, :-1])[..., None] * shares
    cuts = xp.concatenate([cuts.reshape(stops.shape[0], -1), logs[:, -1:]], 1)
    hops = xp.moveaxis(_turns(process, cuts, tau), 1, 0)
    chol = process.transition(stops)[1]
    if tau is None:
        turns = xp.moveaxis(_accumulate(hops)[::parts], 0, 1)
        return chol @ turns @ lower_inverse(chol[:, :1])
    turns = _accumulate(xp.swapaxes(hops[::-1], -1, -2))[::parts][::-1]
    turns = xp.swapaxes(xp.moveaxis(turns, 0, 1), -1, -2)
    return chol[:, -1:] @ turns @ lower_inverse(chol)


def _turns(process, logs, tau):
    """Q(b) Q(a)^-1 [n, m - 1, c, c] between neighbours of the log-times logs [n, m]."""
    xp = namespace(process, logs)
    gaps = logs[:, 1:] - logs[:, :-1]
    times = xp.exp(logs[:, :-1, None] + gaps[..., None] * _STAGES[None, None])
    pull = None if tau is None else (tau**2 / 2)[:, None, None, None, None]
    scaled = (gaps[..., None] * times)[..., None, None] * _rotation(process, times, pull)
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


def _rotation(process, t, pull):
    """S [..., c, c], skew, of Q' = S Q: with M = L^-1 (F + G G^T Sigma^-1 / 2) L the triangular
    L^-1 L' takes M + M^T, and S has the entries of M above the diagonal. With a `pull` [..., 1, 1],
    S + pull W W^T.
    """
    xp = namespace(process, t)
    drift, noise, chol = process.drift(t), process.diffusion(t), process.transition(t)[1]
    inverse = lower_inverse(chol)
    whitened = inverse @ noise
    square = whitened @ xp.swapaxes(whitened, -1, -2)
    above = xp.triu(inverse @ drift @ chol + square / 2, 1)
    skew = above - xp.swapaxes(above, -1, -2)
    return skew if pull is None else skew + pull * square


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
