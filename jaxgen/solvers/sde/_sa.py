"""SA-Solver: a stochastic exponential Adams predictor and corrector, one evaluation a step."""

from jaxgen.solvers._tables._frame import frame
from jaxgen.solvers._tables._moments import carry, ramped, widen
from jaxgen.solvers._tables._options import HOLDS
from jaxgen.solvers._tables._table import table
from jaxgen.solvers.exponential._unipc import corrected_rows
from jaxgen.solvers.sde._options import (
    check_level,
    choose,
    claimed,
    levels,
    planner,
    rows,
    whole_order,
    with_path,
)


def sa_solver(process, denoiser, *, predictor_order=3, corrector_order=4, tau=1.0, hold="x0"):
    """The SA-Solver of noise level tau, z [*event] or [c, *event]: weak order min(2, the orders
    below), one evaluation a step.

    Args: predictor_order, on how many stops the prediction is extrapolated in log-SNR (1 to 6);
        corrector_order, on how many it is interpolated once the arrival is evaluated (2 to 6, the
        arrival among them; 0: no corrector); both fewer while there is no past; tau, the noise
        level, 0 for the probability flow, 1 for the reverse SDE, any number from 0, or a function
        of t [], read at the start of each step; hold, which prediction is polynomial, "x0" or
        "eps".
    The corrector keeps the noise of its predictor; the last arrival is not corrected. With tau = 0
    these are the exponential Adams methods. Each info has the step's log-weight against the forward
    process, given its past and before the correction, where tau > 0. Raises ValueError on options
    outside these; and, from plan, on rising stops or stops outside the process.
    Source: Xue et al. 2023, arXiv 2309.05019, algorithm 1; the corrector written into the table is
    derived.
    """
    name = "sa_solver"
    whole_order(name, predictor_order, option="predictor_order")
    if corrector_order != 0:
        whole_order(name, corrector_order, 2, option="corrector_order")
    choose(name, "hold", hold, HOLDS)
    check_level(name, tau)
    p, q = predictor_order, corrector_order
    past = max(p, q - 1)

    def build(process, ts, tau):
        level = levels(tau, ts)
        parts = frame(process, ts, hold=hold, clock="log_snr", tau=level)
        predict = ramped(parts, p, lambda nodes: range(0, -nodes, -1))
        if not q:
            return rows(process, ts, parts, carry(parts.base[1:], predict), hold, level)
        correct = ramped(parts, q - 1, lambda nodes: range(1, -nodes, -1))
        predict, correct = widen(predict, past), widen(correct, past + 1)
        row = corrected_rows(process, ts, parts, predict, correct, hold)
        return with_path(process, ts, row._replace(noise=parts.noise), level)

    return table(
        process,
        denoiser,
        planner(name, process, build, tau),
        width=past + 1 if q else p,
        hold=hold,
        order=claimed(min(p + 1, q) if q else p, tau),
    )
