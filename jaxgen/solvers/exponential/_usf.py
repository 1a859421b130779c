"""One step, many choices: a sampler whose every step has a clock, a held prediction, an expansion,
a stencil, a relaxation and a corrector of its own.

With V and U of `_frame`, the predictions of a stencil fit a polynomial p in the clock u; a step of
expansion order K adds U(b) int sum_(k<K) p^(k)(u_a) (u - u_a)^k / k! dV. A relaxation replaces the
moment int (u - u_a) dV of the first derivative by its half rule; a corrector repeats the step
before with the new evaluation in its stencil. Source: Liu et al. 2023, arXiv 2312.07243, sections
3.2 and 3.3 (USF); the frames, the blocks and the elimination of the corrected state are derived.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxgen.math import gauss_legendre, namespace
from jaxgen.processes import num_blocks
from jaxgen.solvers._tables._frame import NODES, frame, log_gain
from jaxgen.solvers._tables._moments import carry, moments
from jaxgen.solvers._tables._options import planner
from jaxgen.solvers._tables._table import reading
from jaxgen.solvers.exponential._general import GeneralRow, general, unheld
from jaxgen.solvers.exponential._schedule import check_schedule, reach


def usf(process, denoiser, *, schedule):
    """The Solver of a `Schedule` of n steps, one evaluation each: z is [*event] or [c, *event].

    Every choice may change from step to step, the held prediction and its clock too, on scalar
    processes and blocks alike. The last step is not corrected. Solver.order is 1: a schedule has
    the order of its lowest step. Raises ValueError on choices outside those of `Schedule`, a
    stencil that reaches before the start, and (from plan) another number of steps than the
    schedule's, or stops outside the process.
    Source: Liu et al. 2023, arXiv 2312.07243, section 3; for blocks derived.
    """
    check_schedule("solvers.exponential.usf", schedule)
    steps = len(schedule.order)

    def build(process, ts):
        if ts.shape[0] - 1 != steps:
            raise ValueError(
                f"solvers.exponential.usf: a schedule of {steps} steps must have as many in its "
                f"grid; got {ts.shape[0] - 1}"
            )
        return schedule_rows(process, ts, schedule)

    plan = planner("usf", process, build)
    return general(process, denoiser, plan, width=reach(schedule))


class _Part(NamedTuple):
    """What the steps of one kind contribute, columns by the age of an evaluation."""

    hop: Any  # [m, ...] U(b) U(a)^-1
    past: Any  # [m, k, ...] what the predictor adds
    data: Any  # [m, k, ...]
    more_past: Any  # [m, k, ...] what the corrector adds beyond it, ages from the arrival
    more_data: Any  # [m, k, ...]


def schedule_rows(process, ts, schedule):
    """The `GeneralRow`s [n, ...] of a `Schedule` on stops ts [n + 1].

    The state at a row is what the predictor found; the corrected state that the next predictor
    starts from is that plus the difference of corrector and predictor. Source: derived.
    """
    xp = namespace(process, ts)
    width = reach(schedule)
    kinds = _kinds(schedule)
    frames = {
        (hold, clock): frame(process, ts, hold=hold, clock=clock)
        for hold, clock in dict.fromkeys(kind[:2] for kind in kinds)
    }
    gains = log_gain(process, ts) if any(kind[4] == "bh1" for kind in kinds) else None
    groups = {kind: [i for i, other in enumerate(kinds) if other == kind] for kind in kinds}
    parts = [
        _part(process, frames[kind[:2]], gains, np.array(steps), kind, width)
        for kind, steps in groups.items()
    ]
    back = np.argsort(np.concatenate([np.array(steps) for steps in groups.values()]))
    whole = _Part(*(xp.concatenate(leaves)[back] for leaves in zip(*parts, strict=True)))
    rows = []
    for added, more in ((whole.past, whole.more_past), (whole.data, whole.more_data)):
        arrived = xp.concatenate([0 * more[:1], more[:-1]])
        rows.append(added + carry(whole.hop, arrived))
    past = xp.concatenate([rows[0][:, :1] + whole.hop[:, None], rows[0][:, 1:]], 1)
    return GeneralRow(ts[:-1], ts[1:], past, rows[1])


def _kinds(schedule):
    """The choices of each step without those that make no difference, so that steps are grouped."""
    kinds, straight = [], []
    for hold, clock, order, ages, relaxation, corrector in zip(*schedule, strict=True):
        relaxed = relaxation if order == 2 or (order == 1 and corrector) else "none"
        kinds.append((hold, clock, order, tuple(ages), relaxed, bool(corrector)))
        straight.append(not corrector and ages == (0,))
    # The polynomial of one node is the same in any clock: use a frame that is there, else t.
    used = {
        kind[0]: kind[1] for kind, any_clock in zip(kinds, straight, strict=True) if not any_clock
    }
    return [
        (kind[0], used.get(kind[0], "t"), *kind[2:]) if any_clock else kind
        for kind, any_clock in zip(kinds, straight, strict=True)
    ]


def _part(process, parts, gains, steps, kind, width):
    xp = namespace(parts.base)
    hold, _, order, stencil, relaxation, corrector = kind
    read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
    # The arrival at the last stop would need an evaluation there to be corrected.
    inner = steps[steps < parts.clock.shape[0] - 2]
    scale = _relaxation(xp, gains, steps, relaxation, hold)
    predict = carry(parts.base[steps + 1], _terms(parts, steps, stencil, order, scale))
    blocks = num_blocks(process)

    def placed(weights, steps, ages):
        held = None
        if read is not None:
            evaluations = steps[:, None] - np.array(ages)[None]
            held = tuple(leaf[evaluations] for leaf in read)
        return [_by_age(leaf, ages, width) for leaf in unheld(weights, held, blocks)]

    past, data = placed(predict, steps, stencil)
    more = [0 * past, 0 * data]
    if corrector and len(inner):
        m = len(inner)  # steps rise, so that they are the first
        ages = (-1, *stencil)
        scale = scale if order == 1 else None
        scale = None if scale is None else scale[:m]
        change = carry(parts.base[inner + 1], _terms(parts, inner, ages, order + 1, scale))
        change = xp.concatenate([change[:, :1], change[:, 1:] - predict[:m]], 1)
        # Ages from the arrival: the new evaluation has age 0.
        placed_change = placed(change, inner + 1, tuple(age + 1 for age in ages))
        more = [
            xp.concatenate([found, empty[m:]])
            for found, empty in zip(placed_change, more, strict=True)
        ]
    return _Part(parts.step[steps], past, data, *more)


def _relaxation(xp, gains, steps, relaxation, hold):
    """The factor [m] of the half rule, None when the moment is exact."""
    if relaxation == "none":
        return None
    if relaxation == "bh2":
        return np.ones(len(steps))
    h = gains[steps + 1] - gains[steps]
    signed = h if hold == "eps" else -h
    return signed / xp.expm1(signed)


def _terms(parts, steps, ages, order, scale):
    """int of the expansion dV [m, k, ...] over steps [m], on the evaluations of k ages."""
    stencil = steps[:, None] - np.array(ages)[None]
    relaxed = order == 2 and scale is not None
    if order == len(ages) and not relaxed:
        return moments(parts, steps, stencil)
    xp = namespace(parts.clock, parts.force)
    u, force, inside = parts.clock, parts.force[steps], parts.inner[steps]
    h = u[steps + 1] - u[steps]
    s = (u[stencil] - u[steps][:, None]) / h[:, None]
    powers = [xp.ones_like(s)]
    for _ in ages[1:]:
        powers.append(powers[-1] * s)
    derivatives = xp.linalg.inv(xp.stack(powers, -1))[:, :order]  # [m, order, k], Taylor in s
    points, weights = gauss_legendre(NODES)
    wide = lambda factor: factor.reshape((-1,) + (1,) * (force.ndim - 1))
    integrals = [force]
    for power in range(1, order):
        slope = power * points ** (power - 1) * weights
        integrals.append(force - xp.einsum("q,mq...->m...", slope, inside))
    if relaxed:
        integrals[1] = force * wide(scale / 2)
    return xp.einsum("mpk,mp...->mk...", derivatives, xp.stack(integrals, 1))


def _by_age(weights, ages, width):
    """Weights [m, k, ...] of k ages in columns [m, width, ...]."""
    places = np.zeros((len(ages), width))
    places[np.arange(len(ages)), list(ages)] = 1
    return namespace(weights).einsum("mk...,kw->mw...", weights, places)
