"""DPM-Solver-v3: the linear part, the growth and the drift of a prediction measured on the model.

With y = x / alpha and p = y - x0hat the flow is dy = -p dlambda. Taking l y out of p, and l, s, b
from the model for every entry of the event,

    dy/dlambda = -l y - f,   f = p - l y,   f' = s f + b + what is left,

so that f = e^S (g + B) with S = int s, B = int e^-S b and a g that hardly changes: it is g that the
steps hold polynomial. Source: Zheng et al. 2023, arXiv 2310.13268, section 3.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev, legendre

from jaxgen.math import gauss_legendre, invert, is_concrete, lagrange, on_host, working_dtype
from jaxgen.processes import num_blocks, refuse_diagonal
from jaxgen.solvers._solve import guarded
from jaxgen.solvers._tables._frame import NODES, log_gain
from jaxgen.solvers._tables._options import STARTS, choose, counted, planner, whole_order
from jaxgen.solvers._tables._table import TableInfo, TableState
from jaxgen.types import Solver


class ModelStatistics(NamedTuple):
    """What DPM-Solver-v3 knows of a model: Chebyshev coefficients in lambda; l as log(l / (1 - l)),
    which for Gaussians is linear. Source: definition.
    """

    ends: Any  # [2] the lowest and the highest lambda
    linear: Any  # [m, *event] of log(l / (1 - l))
    growth: Any  # [m, *event] of s
    drift: Any  # [m, *event] of b


class V3Row(NamedTuple):
    """One evaluation and one step. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    read: Any  # [*event] f = read x - x0hat
    propagate: Any  # [*event]
    weights: Any  # [k, *event]
    offset: Any  # [*event]


def model_statistics(process, denoiser, x0, eps, *, nodes=128, degree=48, probes=None):
    """The `ModelStatistics` of a denoiser under a scalar process, from pairs of data and unit noise
    x0, eps [n, *event], each used at `nodes` Chebyshev points of log-SNR; series of `degree` smooth
    what is left of chance.

    l minimises the mean square of the Jacobian of p - l y, and s, b that of f' - s f - b. The
    diagonal of the Jacobian takes one derivative for each entry of the event or, given probes
    [n, *event] of random signs, one for each pair. Call it outside `jit`. Raises ValueError on a
    block process, traced process numbers, a degree not below `nodes`, or shapes that differ.
    Source: Zheng et al. 2023, arXiv 2310.13268, section 3; the Chebyshev series are ours.
    """
    _scalar("model_statistics", process)
    for name, value in (("eps", eps), ("probes", x0 if probes is None else probes)):
        if np.shape(value) != np.shape(x0) or np.ndim(x0) < 1:
            raise ValueError(
                f"solvers.exponential.model_statistics: {name} must have the shape of x0 [n, "
                f"*event]; got {np.shape(value)} for {np.shape(x0)}"
            )
    if not 1 <= degree < nodes:
        raise ValueError(
            "solvers.exponential.model_statistics: degree must be from 1 to nodes - 1; got "
            f"{degree} with {nodes} nodes"
        )
    angles = (np.arange(nodes) + 0.5) * np.pi / nodes

    def places(process, points):
        ends = log_gain(process, process.t_max), log_gain(process, process.t_min)
        lam = (ends[0] + ends[1]) / 2 + (ends[1] - ends[0]) / 2 * points
        ts = invert(lambda t: log_gain(process, t), lam, process.t_min, process.t_max)
        return np.array(ends), ts, *process.transition(ts), _pace(process, ts)

    ends, *table = on_host(places, process, np.cos(angles))
    fit = np.cos(np.arange(degree + 1)[:, None] * angles) * (2 / nodes)
    fit[0] /= 2
    coefficients = lambda values: np.tensordot(fit, np.asarray(values, np.float64), 1)
    denoiser, dtype = guarded(process, denoiser), working_dtype(x0)
    x0, eps = jnp.asarray(x0, dtype), jnp.asarray(eps, dtype)
    table = [jnp.asarray(leaf, dtype) for leaf in (*table[:3], *table[3])]
    slopes = jax.lax.map(lambda at: _diagonal(denoiser, x0, eps, probes, at), table)
    slopes = np.clip(
        np.asarray(slopes, np.float64), 1e-9, 1 - 1e-9
    )  # of a true mean they lie within
    linear = coefficients(np.log1p(-slopes) - np.log(slopes))
    rate = 1 / (1 + np.exp(-_chebyshev(linear, np.cos(angles))))
    bend = chebyshev.chebder(linear, scl=2 / (ends[1] - ends[0]))
    bend = rate * (1 - rate) * _chebyshev(bend, np.cos(angles))
    rows = [*table, jnp.asarray(rate, dtype), jnp.asarray(bend, dtype)]
    growth, drift = jax.lax.map(lambda at: _regress(denoiser, x0, eps, at), rows)
    return ModelStatistics(ends, linear, coefficients(growth), coefficients(drift))


def _pace(process, t):
    """dt / dlambda, and d log alpha / dlambda."""
    half = process.diffusion(t) ** 2 / (2 * process.transition(t)[1] ** 2)
    return -1 / half, -process.drift(t) / half


def _diagonal(denoiser, x0, eps, probes, at):
    """The mean [*event] of alpha d x0hat_i / d x_i."""
    t, alpha, sigma = at[:3]

    def one(x0, eps, probe):
        x, fn = alpha * x0 + sigma * eps, lambda x: denoiser(x, t)
        if probes is not None:
            return probe * jax.jvp(fn, (x,), (probe,))[1]
        basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        return jax.vmap(lambda e: jnp.sum(e * jax.jvp(fn, (x,), (e,))[1]))(basis).reshape(x.shape)

    signs = x0 if probes is None else jnp.asarray(probes, x0.dtype)
    return alpha * jax.vmap(one)(x0, eps, signs).mean(0)


def _regress(denoiser, x0, eps, at):
    """s and b [*event] of f' on f, over the samples."""
    t, alpha, sigma, dt, fall, linear, bend = at

    def one(x0, eps):
        y = x0 + sigma / alpha * eps
        data = denoiser(alpha * y, t)
        moved = alpha * (data - y) + fall * alpha * y  # dx / dlambda
        change = jax.jvp(denoiser, (alpha * y, t), (moved, dt))[1]
        f = (1 - linear) * y - data
        return f, (1 - linear) * (data - y) - bend * y - change

    f, slope = jax.vmap(one)(x0, eps)
    away = f - f.mean(0)[None]
    spread = (away**2).mean(0)
    # A prediction that does not vary among the samples says nothing of its growth.
    varies = spread > 1e-9 * (f**2).mean(0)
    covariance = (away * slope).mean(0)
    growth = jnp.where(varies, covariance / jnp.where(varies, spread, 1.0), 0.0)
    return growth, slope.mean(0) - growth * f.mean(0)


def dpm_solver_v3(process, denoiser, *, statistics, order=2, start="ramp"):
    """The multistep DPM-Solver-v3 of an order from 1 to 3, one evaluation a step, for x [*event]
    under a scalar process, with `model_statistics` of the model.

    Where f' = s f + b holds, as for every Gaussian of independent entries, each step is exact; on
    mixtures of distant modes it is no better than `dpmpp_2m` at few steps. l = 1 would hold x0hat
    and l = 0 the noise. `start` is that of `adams_bashforth`. Deviation: no corrector. Raises
    ValueError on options outside these, a block process, traced process numbers, fewer steps than
    `order`, or stops outside the process or the statistics.
    Source: Zheng et al. 2023, arXiv 2310.13268, algorithm 1; higher orders by Lagrange polynomials.
    """
    name = "dpm_solver_v3"
    whole_order(name, order, 1, 3)
    choose(name, "start", start, STARTS)
    _scalar(name, process)
    denoiser = guarded(process, denoiser)
    plan = planner(
        name,
        process,
        lambda process, ts: _rows(process, ts, statistics, order),
        order=order,
        start=start,
    )

    def init(x, ts):
        if np.shape(x) != statistics.linear.shape[1:]:
            raise ValueError(
                f"solvers.exponential.{name}: x must have the event shape of the statistics, "
                f"{statistics.linear.shape[1:]}; got {np.shape(x)}"
            )
        return TableState(x, (jnp.zeros(x.shape, working_dtype(x)),) * (order - 1), ())

    def step(key, state, row):
        dtype = working_dtype(state.x)
        x = state.x.astype(dtype)
        history = (row.read * x - denoiser(state.x, row.t).astype(dtype), *state.history)
        x = row.propagate * x + row.offset
        x = x + sum(row.weights[j] * history[j] for j in range(order))
        state = TableState(x.astype(state.x.dtype), history[: order - 1], ())
        return state, TableInfo(row.t_next, None)

    return Solver(plan, init, step, order, counted(order, start))


def _rows(process, ts, statistics, order):
    lam, (alpha, _) = log_gain(process, ts), process.transition(ts)
    low, high = statistics.ends
    slack = 1e-6 * (high - low)
    if lam.min() < low - slack or lam.max() > high + slack:
        raise ValueError(
            "solvers.exponential.dpm_solver_v3: lambda must lie in that of the statistics, "
            f"[{low}, {high}]; got [{lam.min()}, {lam.max()}]"
        )
    n, h = len(lam) - 1, np.diff(lam)
    q = NODES + 128 // n  # a single step may span all of log-SNR
    points, shares = gauss_legendre(q)
    inside = lam[:-1, None] + h[:, None] * points[None]
    half = (high - low) / 2
    curve = lambda coefficients, at: _chebyshev(coefficients, (at - low) / half - 1)
    rate = lambda at: 1 / (1 + np.exp(-curve(statistics.linear, at)))
    growth = chebyshev.chebint(statistics.growth, scl=half)
    size = curve(growth, lam)  # S at the stops
    wide = (slice(None),) + (None,) * (size.ndim - 1)
    grown = curve(growth, inside) - size[:-1, None]
    # int l from the start of a step: to the quadrature points, and to its end
    inner = h[wide][:, None] * rate(inside)
    decay = np.einsum("q,nq...->n...", shares, inner)
    front = np.exp(np.einsum("pq,nq...->np...", _running(q), inner) - decay[:, None] + grown)
    front = -alpha[1:][wide][:, None] * h[wide][:, None] * front
    # B of a step, 0 at its start: at the quadrature points, and at its end
    source = h[wide][:, None] * np.exp(-grown) * curve(statistics.drift, inside)
    inner = np.einsum("pq,nq...->np...", _running(q), source)
    whole = np.einsum("q,nq...->n...", shares, source)
    weights, offset = [], []
    for i in range(n):
        nodes = np.arange(i, max(i - order, -1), -1)
        ell = lagrange(np.broadcast_to(lam[nodes], (q, len(nodes))), inside[i])[0]
        row = np.einsum("q,q...,qk->k...", shares, front[i], ell) * np.exp(size[i] - size[nodes])
        past = np.exp(size[i] - size[nodes[1:]]) * whole[nodes[1:]]
        past = -np.cumsum(np.concatenate([0 * size[:1], past]), 0)  # B at the nodes
        missed = inner[i] - np.einsum("qk,k...->q...", ell, past)
        offset.append(np.einsum("q,q...->...", shares, front[i] * missed))
        weights.append(np.concatenate([row, np.zeros((order - len(nodes), *row.shape[1:]))]))
    read = (1 - rate(lam[:-1])) / alpha[:-1][wide]
    step = (alpha[1:] / alpha[:-1])[wide] * np.exp(-decay)
    return V3Row(ts[:-1], ts[1:], read, step, np.stack(weights), np.stack(offset))


def _chebyshev(coefficients, u):
    """Values [..., *event] at u [...] of a series [m, *event]."""
    values = np.moveaxis(chebyshev.chebval(u.reshape(-1), coefficients), -1, 0)
    return values.reshape(*u.shape, *values.shape[1:])


@functools.cache
def _running(q):
    """The integrals [q, q] from 0 to each Gauss-Legendre point of the polynomial through all."""
    points, shares = gauss_legendre(q)
    u = 2 * points - 1
    fit = legendre.legvander(u, q - 1).T * shares * (2 * np.arange(q) + 1)[:, None]
    integrals = legendre.legval(u, legendre.legint(np.eye(q), lbnd=-1)).T / 2
    return integrals @ fit


def _scalar(name, process):
    refuse_diagonal(f"solvers.exponential.{name}", process)
    if num_blocks(process) is not None or not is_concrete(process):
        raise ValueError(
            f"solvers.exponential.{name}: the process must be scalar and its numbers concrete; got "
            f"{'blocks' if num_blocks(process) is not None else 'tracers'}"
        )
