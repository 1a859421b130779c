"""Multistep DPM-Solver and DPM-Solver++: second order by relaxation, third by Taylor expansion."""

from jaxgen.math import namespace
from jaxgen.solvers._tables._frame import frame, log_gain
from jaxgen.solvers._tables._moments import carry, ramped, relaxed, widen
from jaxgen.solvers._tables._options import (
    HOLDS,
    STARTS,
    choose,
    counted,
    planner,
    whole_order,
)
from jaxgen.solvers._tables._table import TableRow, reading, table


def dpm_solver_multistep(process, denoiser, *, order=3, hold="eps", compat=False, start="ramp"):
    """The multistep DPM-Solver of order 2 or 3; with hold="x0" it is DPM-Solver++ (2M, 3M); z is
    [*event] or [c, *event].

    Order 3 is the exponential Adams-Bashforth method in log-SNR, with the relaxed method of order 2
    at its second step. The published third-order form has half of the term of the second divided
    difference: f'' / 2 is put where f'' belongs, and its order is 2. compat=True gives that form,
    whose error is often the smaller one up to some 32 steps. `start` is that of `adams_bashforth`.
    Raises ValueError on options outside these, fewer than 3 steps at order 3, or stops outside the
    process.
    Source: Lu et al. 2022, arXiv 2211.01095, algorithm 2 and appendix B; the factor derived.
    """
    name = "dpm_solver_multistep"
    whole_order(name, order, 2, 3)
    choose(name, "hold", hold, HOLDS)
    choose(name, "compat", compat, (False, True))
    choose(name, "start", start, STARTS)
    return _multistep(name, process, denoiser, order, hold, compat, start)


def dpmpp_2m(process, denoiser):
    """The second-order multistep DPM-Solver++ (2M), for z [*event] or [c, *event]; first step order
    1.

    x0hat is extrapolated to the middle of the step in log-SNR: ((1 + r) x0_i - r x0_(i-1)), r = h_i
    / (2 h_(i-1)), and held constant. Raises ValueError on stops outside the process. Source: Lu et
    al. 2022, arXiv 2211.01095, algorithm 2.
    """
    return _multistep("dpmpp_2m", process, denoiser, 2, "x0", False, "ramp")


def _multistep(name, process, denoiser, nodes, hold, compat, start):
    order = 2 if compat else nodes

    def build(process, ts):
        parts = frame(process, ts, hold=hold, clock="t" if nodes == 2 else "log_snr")
        clock = log_gain(process, ts)
        weights = relaxed(parts.force, clock[1:] - clock[:-1])
        if nodes == 3:
            third = ramped(parts, 3, lambda nodes: range(0, -nodes, -1))[2:]
            if compat:
                third = third - _half_of_second_difference(clock, third)
            xp = namespace(third)
            weights = xp.concatenate([widen(weights[:2], 3), third])
        read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
        return TableRow(ts[:-1], ts[1:], read, parts.step, carry(parts.base[1:], weights))

    least = 3 if nodes == 3 else 1
    plan = planner(name, process, build, order=least, start=start, start_order=nodes)
    return table(
        process,
        denoiser,
        plan,
        width=nodes,
        hold=hold,
        order=order,
        evaluations=counted(nodes, start),
    )


def _half_of_second_difference(clock, third):
    """Half of f[u_0, u_1, u_2] int (u - u_0)^2 dV, as moments [n - 2, 3, ...] beside `third`.

    The quadratic is its own interpolant, so that `third` integrates it.
    """
    xp = namespace(clock, third)
    one, two = clock[1:-2] - clock[2:-1], clock[:-3] - clock[2:-1]  # nodes of the past, from u_0
    square = xp.stack([0 * one, one**2, two**2], 1)
    difference = xp.stack([1 / (one * two), 1 / (one * (one - two)), 1 / (two * (two - one))], 1)
    moment = xp.einsum("mk,mk...->m...", square, third)
    return xp.einsum("mk,m...->mk...", difference, moment) / 2
