"""UniPC: an exponential Adams predictor whose evaluation also corrects the step before, at no
further cost.
"""

from jaxgen.math import namespace
from jaxgen.solvers._tables._frame import frame
from jaxgen.solvers._tables._moments import carry, ramped, scaled
from jaxgen.solvers._tables._options import (
    HOLDS,
    STARTS,
    check_span,
    choose,
    counted,
    planner,
    whole_order,
)
from jaxgen.solvers._tables._table import TableRow, reading, table

VARIANTS = ("bh1", "bh2")


def unipc(
    process,
    denoiser,
    *,
    predictor_order=3,
    hold="x0",
    variant="bh2",
    start="ramp",
    correct=None,
):
    """The UniPC Solver with a predictor of order p = predictor_order (1 to 5) and its corrector:
    order p + 1, one evaluation a step.

    z is [*event] or [c, *event]. From p = 3 on predictor and corrector are the exponential Adams
    methods in log-SNR, whatever the variant: "bh1" and "bh2" differ where the paper fixes a
    coefficient at 1/2 (predictor of order 2, corrector of a step with one past node). The last step
    is not corrected. correct=(lo, hi) corrects only arrivals at times in [lo, hi], correct=() none,
    which leaves the predictor and its order: see `adams_moulton`. Raises ValueError on options
    outside these, fewer steps than p, or stops outside the process.
    Source: Zhao et al. 2023, arXiv 2302.04867, algorithms 5-8; the reduction to Adams methods is
    derived.
    """
    name = "unipc"
    whole_order(name, predictor_order, 1, 5)
    choose(name, "hold", hold, HOLDS)
    choose(name, "variant", variant, VARIANTS)
    choose(name, "start", start, STARTS)
    check_span(name, "correct", correct)
    p = predictor_order

    def build(process, ts):
        parts = frame(process, ts, hold=hold, clock="log_snr")
        predictor = ramped(parts, p, lambda nodes: range(0, -nodes, -1))
        corrector = ramped(parts, p, lambda nodes: range(1, -nodes, -1))
        predictor, corrector = _halve(parts, predictor, corrector, p, hold, variant)
        return corrected_rows(process, ts, parts, predictor, corrector, hold, correct)

    plan = planner(name, process, build, order=p, start=start, start_order=p + 1)
    evaluations = counted(p + 1, start)
    return table(
        process,
        denoiser,
        plan,
        width=p + 1,
        hold=hold,
        order=p + 1 if correct is None else p,
        evaluations=evaluations,
    )


def corrected_rows(process, ts, parts, predict, correct, hold, span=None):
    """`TableRow`s of predictors [n, p, ...] whose evaluation corrects the arrival by correctors [n,
    p + 1, ...], both moments of dV; the arrival at the last stop stays as predicted, and so do
    those at times outside a span (lo, hi); span=() corrects none.

    The corrected state is the predicted one, less what the predictor added, plus what the corrector
    adds, so that only the weights know of it. Source: derived.
    """
    xp = namespace(process, ts)
    base = parts.base
    predicted = carry(base[1:], predict)
    change = carry(base[1:], correct)
    change = xp.concatenate([change[:, :1], change[:, 1:] - predicted], 1)
    if span is not None:
        inside = (span[0] <= ts[1:]) & (ts[1:] <= span[1]) if len(span) else 0 * ts[1:]
        change = scaled(change, inside)
    change = xp.concatenate([0 * change[:1], change[:-1]])  # at the arrival of the row before
    weights = xp.concatenate([predicted, 0 * predicted[:, :1]], 1) + carry(parts.step, change)
    read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
    return TableRow(ts[:-1], ts[1:], read, parts.step, weights)


def _halve(parts, predict, correct, p, hold, variant):
    """Replaces the weights that the paper fixes at 1/2: steps predicted with two nodes, and
    corrected with one past node.
    """
    xp = namespace(parts.clock)
    h = parts.clock[1:] - parts.clock[:-1]
    signed = h if hold == "eps" else -h
    scale = signed / xp.expm1(signed) if variant == "bh1" else xp.ones_like(h)
    half = scaled(parts.force, scale / 2)
    n = h.shape[0]
    m = n if p == 1 else 1  # the steps corrected with one past node
    one = _columns(xp, correct[:m], [half[:m], parts.force[:m] - half[:m]])
    correct = xp.concatenate([one, correct[m:]])
    m = min({1: 1, 2: n}.get(p, 2), n)  # the steps from 1 to m - 1 are predicted with two nodes
    back = scaled(half[1:m], h[1:m] / h[: m - 1])
    two = _columns(xp, predict[1:m], [parts.force[1:m] + back, -back])
    return xp.concatenate([predict[:1], two, predict[m:]]), correct


def _columns(xp, like, columns):
    """The given columns [m, ...] side by side, padded with zeros to like [m, k, ...]."""
    stacked = xp.stack(columns, 1)
    return xp.concatenate([stacked[:, : like.shape[1]], 0 * like[:, stacked.shape[1] :]], 1)
