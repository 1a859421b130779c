"""UniPC: an exponential Adams predictor whose evaluation also corrects the step before, at no
further cost.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import apply, namespace, total
from jaxgen.solvers._solve import guarded
from jaxgen.solvers.exponential._frame import frame
from jaxgen.solvers.exponential._multistep import MultistepInfo, hold_prediction, reading
from jaxgen.solvers.exponential._table import (
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

VARIANTS = ("bh1", "bh2")


class UniPCRow(NamedTuple):
    """One step: correct the arrival at t, then predict t_next. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    read: Any  # as MultistepRow
    arrive: Any  # [] or [c, c], the propagator of the step before
    correct: Any  # [k + 1, ...], weights of the predictions at t and before
    keep: Any  # [] 1 on the first row, which has nothing to correct
    propagate: Any  # [] or [c, c]
    predict: Any  # [k, ...]


class UniPCState(NamedTuple):
    """The running state of UniPC. Source: definition."""

    x: Any  # [*event] or [c, *event], predicted
    corrected: Any  # the corrected state one stop before
    history: Any  # tuple of k held predictions, the latest first


def unipc(process, denoiser, *, predictor_order=3, hold="x0", variant="bh2", start="ramp"):
    """The UniPC Solver with a predictor of order p = predictor_order (1 to 5) and its corrector:
    order p + 1, one evaluation a step.

    z is [*event] or [c, *event]. From p = 3 on predictor and corrector are the exponential Adams
    methods in log-SNR, whatever the variant: "bh1" and "bh2" differ where the paper fixes a
    coefficient at 1/2 (predictor of order 2, corrector of a step with one past node). The last step
    is not corrected. Raises ValueError on options outside these, fewer steps than p, or stops
    outside the process.
    Source: Zhao et al. 2023, arXiv 2302.04867, algorithms 5-8; the reduction to Adams methods is
    derived.
    """
    name = "unipc"
    whole_order(name, predictor_order, 1, 5)
    choose(name, "hold", hold, HOLDS)
    choose(name, "variant", variant, VARIANTS)
    choose(name, "start", start, STARTS)
    p = predictor_order
    denoiser = guarded(process, denoiser)

    def build(process, ts):
        xp = namespace(process, ts)
        parts = frame(process, ts, hold=hold, clock="log_snr")
        predict = ramped(parts, p, lambda nodes: range(0, -nodes, -1))
        correct = ramped(parts, p, lambda nodes: range(1, -nodes, -1))
        predict, correct = _halve(parts, predict, correct, p, hold, variant)
        predict, correct = carry(parts.base[1:], predict), carry(parts.base[1:], correct)
        first = 0 * parts.step[:1]
        keep = xp.concatenate([xp.ones((1,)), xp.zeros((ts.shape[0] - 2,))])
        arrive = xp.concatenate([first, parts.step[:-1]])
        correct = xp.concatenate([0 * correct[:1], correct[:-1]])
        start_of = parts._replace(root=parts.root[:-1], phi=parts.phi[:-1])
        read = reading(process, start_of) if hold == "eps" else None
        return UniPCRow(ts[:-1], ts[1:], read, arrive, correct, keep, parts.step, predict)

    def init(x, ts):
        held = x if hold == "eps" else jax.eval_shape(denoiser, x, jnp.zeros((), jnp.float32))
        empty = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), held)
        return UniPCState(x, x, (empty,) * p)

    def step(key, state, row):
        history = (hold_prediction(row.read, state.x, denoiser(state.x, row.t)), *state.history)
        arrived = [apply(row.keep, state.x), apply(row.arrive, state.corrected)]
        corrected = total(arrived + [apply(row.correct[j], history[j]) for j in range(p + 1)])
        moved = apply(row.propagate, corrected)
        x = total([moved] + [apply(row.predict[j], history[j]) for j in range(p)])
        return UniPCState(x, corrected, history[:p]), MultistepInfo(row.t_next, None)

    def evaluations(n):
        return n + (start_steps(p + 1, n) if start == "exact" else 0)

    plan = planner(name, process, build, order=p, start=start, start_order=p + 1)
    return Solver(plan, init, step, p + 1, evaluations)


def _halve(parts, predict, correct, p, hold, variant):
    """Replaces the weights that the paper fixes at 1/2: steps predicted with two nodes, and
    corrected with one past node.
    """
    xp = namespace(parts.clock)
    h = parts.clock[1:] - parts.clock[:-1]
    signed = h if hold == "eps" else -h
    scale = signed / xp.expm1(signed) if variant == "bh1" else xp.ones_like(h)
    half = parts.force * (scale / 2).reshape((-1,) + (1,) * (parts.force.ndim - 1))
    n = h.shape[0]
    m = n if p == 1 else 1  # the steps corrected with one past node
    one = _columns(xp, correct[:m], [half[:m], parts.force[:m] - half[:m]])
    correct = xp.concatenate([one, correct[m:]])
    m = min({1: 1, 2: n}.get(p, 2), n)  # the steps from 1 to m - 1 are predicted with two nodes
    ratio = (h[1:m] / h[: m - 1]).reshape((-1,) + (1,) * (parts.force.ndim - 1))
    back = half[1:m] * ratio
    two = _columns(xp, predict[1:m], [parts.force[1:m] + back, -back])
    return xp.concatenate([predict[:1], two, predict[m:]]), correct


def _columns(xp, like, columns):
    """The given columns [m, ...] side by side, padded with zeros to like [m, k, ...]."""
    stacked = xp.stack(columns, 1)
    return xp.concatenate([stacked[:, : like.shape[1]], 0 * like[:, stacked.shape[1] :]], 1)
