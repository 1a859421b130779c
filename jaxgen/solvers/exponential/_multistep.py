"""Exponential Adams-Bashforth methods: DDIM, tAB- and rhoAB-DEIS, and their like at any order, in
any clock.

    z(b) = U(b) U(a)^-1 z(a) + sum_j C_j held_j,   C_j = U(b) int_a^b l_j dV,

with the Lagrange polynomials l_j on the last `order` stops in the chosen clock. Source: Zhang and
Chen 2023, arXiv 2204.13902, equations 14-16; for blocks derived (see `_frame`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import apply, namespace, total
from jaxgen.processes import num_blocks
from jaxgen.solvers._solve import guarded
from jaxgen.solvers.exponential._density import density_row, hold_trace, pair
from jaxgen.solvers.exponential._frame import columns, frame, log_gain
from jaxgen.solvers.exponential._table import (
    CLOCKS,
    HOLDS,
    STARTS,
    carry,
    choose,
    planner,
    ramped,
    start_steps,
    whole_order,
)
from jaxgen.types import Solver


class MultistepRow(NamedTuple):
    """One step of a multistep table. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    read: Any  # (from z, from x0hat) to the held prediction; None when x0hat itself is held
    propagate: Any  # [] or [c, c]
    weights: Any  # [k], [k, c, c] or [k, c]
    density: Any  # `DensityRow`, or None


class MultistepState(NamedTuple):
    """The running state of a multistep method. Source: definition."""

    x: Any  # [*event] or [c, *event]
    history: Any  # tuple of k - 1 held predictions, the latest first
    traces: Any  # tuple of k - 1 held traces, () when no density is carried


class MultistepInfo(NamedTuple):
    """What a step reports. Source: definition."""

    t: Any  # [] the time reached
    log_density: Any  # [...] log p(z(b), b) - log p(z(a), a) in nats, or None


def adams_bashforth(
    process, denoiser, *, order=3, hold="x0", clock="log_snr", start="ramp", divergence=None
):
    """A Solver for the probability-flow ODE of any linear process, holding a prediction polynomial:
    z is [*event] or [c, *event].

    Args: denoiser(z, t) -> E[x0 | z] [*event]; order, how many stops the polynomial uses (1 to 6);
        hold, which prediction is polynomial, "x0" or "eps"; clock, in which variable: "t",
        "log_snr" (lambda) or "rho" = exp(-lambda); start: "ramp" climbs the orders over the first
        steps, one evaluation each; "exact" adds `log2(steps) (order - 2) / 2` short steps to the
        first so that the order holds from any starting time; divergence: an estimator of
        `math.divergence`, to report the change of log-density in nats in each step's info.
    Raises ValueError on options outside these, fewer steps than `order`, or stops outside the
    process.
    Source: Zhang and Chen 2023, arXiv 2204.13902; Lu et al. 2022, arXiv 2211.01095; for blocks
    derived.
    """
    name = "adams_bashforth"
    whole_order(name, order)
    choose(name, "hold", hold, HOLDS)
    choose(name, "clock", clock, CLOCKS)
    choose(name, "start", start, STARTS)

    def build(process, ts):
        # The Lagrange polynomial of one node is 1 in any clock; t needs no inversion.
        parts = frame(process, ts, hold=hold, clock=clock if order > 1 else "t")
        weights = ramped(parts, order, lambda nodes: range(0, -nodes, -1))
        density = None if divergence is None else density_row(process, parts, weights, hold)
        start_of = parts._replace(root=parts.root[:-1], phi=parts.phi[:-1])
        read = reading(process, start_of) if hold == "eps" else None
        return MultistepRow(
            ts[:-1], ts[1:], read, parts.step, carry(parts.base[1:], weights), density
        )

    return multistep(
        planner(name, process, build, order=order, start=start),
        guarded(process, denoiser),
        order=order,
        start=start,
        hold=hold,
        blocks=num_blocks(process),
        divergence=divergence,
    )


def ddim(process, denoiser):
    """The order-1 Solver: the prediction is held constant over a step; z is [*event] or [c,
    *event].

    Source: Song et al. 2021, arXiv 2010.02502, equation 12 with sigma = 0; for blocks Zhang et al.
    2023, arXiv 2206.05564.
    """
    return adams_bashforth(process, denoiser, order=1, hold="x0", clock="t")


def deis(process, denoiser, *, order=3, clock="t", hold="eps", start="ramp"):
    """The DEIS Solver: tAB-DEIS of `order` nodes (the paper's tAB-r is order = r + 1), or rhoAB
    with clock="rho".

    z is [*event] or [c, *event]. Arguments and errors as `adams_bashforth`. Source: Zhang and Chen
    2023, arXiv 2204.13902, section 3.2 and proposition 3.
    """
    return adams_bashforth(process, denoiser, order=order, hold=hold, clock=clock, start=start)


def dpmpp_2m(process, denoiser):
    """The second-order multistep DPM-Solver++ (2M), for z [*event] or [c, *event]; first step order
    1.

    x0hat is extrapolated to the middle of the step in log-SNR: ((1 + r) x0_i - r x0_(i-1)), r = h_i
    / (2 h_(i-1)), and held constant. Raises ValueError on stops outside the process. Source: Lu et
    al. 2022, arXiv 2211.01095, algorithm 2.
    """

    def build(process, ts):
        xp = namespace(process, ts)
        parts = frame(process, ts, hold="x0", clock="t")
        clock = log_gain(process, ts)
        h = clock[1:] - clock[:-1]
        lean = xp.concatenate([0 * h[:1], h[1:] / (2 * h[:-1])])
        shape = (-1,) + (1,) * (parts.force.ndim - 1)
        weights = xp.stack(
            [parts.force * (1 + lean).reshape(shape), -parts.force * lean.reshape(shape)], 1
        )
        return MultistepRow(ts[:-1], ts[1:], None, parts.step, carry(parts.base[1:], weights), None)

    return multistep(
        planner("dpmpp_2m", process, build),
        guarded(process, denoiser),
        order=2,
        hold="x0",
        blocks=num_blocks(process),
    )


def multistep(plan, denoiser, *, order, hold, blocks, start="ramp", divergence=None):
    """The Solver that runs a table of `MultistepRow`s: one evaluation and one weighted sum of
    `order` predictions a step.

    Args: plan(ts) -> rows; blocks, c or None for z [c, *event] or [*event]. Source: definition.
    """

    def init(x, ts):
        held, trace = jax.eval_shape(
            lambda z, t: _evaluate(denoiser, divergence, z, t), x, jnp.zeros((), jnp.float32)
        )
        empty = jax.tree.map(
            lambda like: jnp.zeros(like.shape, like.dtype), x if hold == "eps" else held
        )
        traces = ()
        if divergence is not None:
            lifted = (
                trace.shape
                if blocks is None
                else (*trace.shape[:-1], *((blocks,) * (2 if hold == "eps" else 1)))
            )
            traces = (jnp.zeros(lifted, trace.dtype),) * (order - 1)
        return MultistepState(x, (empty,) * (order - 1), traces)

    def step(key, state, row):
        x0, trace = _evaluate(denoiser, divergence, state.x, row.t)
        history = (hold_prediction(row.read, state.x, x0), *state.history)
        moved = apply(row.propagate, state.x)
        x = total([moved] + [apply(row.weights[j], history[j]) for j in range(order)])
        traces, change = (), None
        if divergence is not None:
            size = state.x.size if blocks is None else state.x.size // blocks
            traces = (hold_trace(row.density.read, trace, size, hold, blocks), *state.traces)
            paired = [pair(row.density.weights[j], traces[j], hold, blocks) for j in range(order)]
            change = -size * row.density.log_det - sum(paired)
        return MultistepState(x, history[: order - 1], traces[: order - 1]), MultistepInfo(
            row.t_next, change
        )

    def evaluations(n):
        return n + (start_steps(order, n) if start == "exact" else 0)

    return Solver(plan, init, step, order, evaluations)


def reading(process, parts):
    """(from z, from x0hat) [m, ...] that make the held eps = R^-1 (z - Phi_0 x0hat) at the stops of
    `parts`.

    Source: definition.
    """
    xp = namespace(parts.root)
    root, column = parts.root, columns(process, parts.phi)
    if root.ndim == 1:
        return 1 / root, -column / root
    inverse = xp.linalg.inv(root)
    return inverse, -xp.einsum("nij,nj->ni", inverse, column)


def hold_prediction(read, z, x0):
    """The held prediction, shaped as x0 [*event] or z [c, *event]. Source: definition."""
    return x0 if read is None else total([apply(read[0], z), apply(read[1], x0)])


def _evaluate(denoiser, divergence, z, t):
    if divergence is None:
        return denoiser(z, t), None
    return divergence(lambda inner: denoiser(inner, t), z)
