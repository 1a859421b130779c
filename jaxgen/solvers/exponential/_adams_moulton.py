"""Exponential Adams predictors and correctors in any clock, one evaluation a step."""

from jaxgen.solvers._tables._frame import frame
from jaxgen.solvers._tables._moments import ramped
from jaxgen.solvers._tables._options import (
    CLOCKS,
    HOLDS,
    STARTS,
    check_span,
    choose,
    counted,
    planner,
    whole_order,
)
from jaxgen.solvers._tables._table import table
from jaxgen.solvers.exponential._unipc import corrected_rows


def adams_moulton(
    process,
    denoiser,
    *,
    order=4,
    hold="x0",
    clock="log_snr",
    start="ramp",
    correct=None,
):
    """The Solver of `order` (2 to 6) that predicts with Adams-Bashforth on order - 1 stops and
    corrects each arrival with Adams-Moulton on these and the arrival, at one evaluation a step.

    z is [*event] or [c, *event]; hold, clock and start as `adams_bashforth`. The corrected state is
    not evaluated again, and the last arrival stays as predicted. correct=(lo, hi) corrects only
    arrivals at times in [lo, hi], correct=() none, which leaves the predictor and its order - 1:
    strong guidance asks for the half corrector, over the times without guidance. Raises ValueError
    on options outside these, fewer than order - 1 steps, or stops outside the process.
    Source: Zhao et al. 2023, arXiv 2302.04867, algorithm 1, with the exponential Adams weights of
    any clock; Zheng et al. 2023, arXiv 2310.13268, appendix (half corrector); weights derived.
    """
    name = "adams_moulton"
    whole_order(name, order, 2)
    choose(name, "hold", hold, HOLDS)
    choose(name, "clock", clock, CLOCKS)
    choose(name, "start", start, STARTS)
    check_span(name, "correct", correct)
    p = order - 1

    def build(process, ts):
        parts = frame(process, ts, hold=hold, clock=clock)
        predictor = ramped(parts, p, lambda nodes: range(0, -nodes, -1))
        corrector = ramped(parts, p, lambda nodes: range(1, -nodes, -1))
        return corrected_rows(process, ts, parts, predictor, corrector, hold, correct)

    return table(
        process,
        denoiser,
        planner(name, process, build, order=p, start=start, start_order=order),
        width=order,
        hold=hold,
        order=order if correct is None else p,
        evaluations=counted(order, start),
    )
