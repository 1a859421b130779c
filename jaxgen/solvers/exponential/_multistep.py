"""Exponential Adams-Bashforth methods: DDIM, tAB- and rhoAB-DEIS, and their like at any order, in
any clock.

    z(b) = U(b) U(a)^-1 z(a) + sum_j C_j held_j,   C_j = U(b) int_a^b l_j dV,

with the Lagrange polynomials l_j on the last `order` stops in the chosen clock. Source: Zhang and
Chen 2023, arXiv 2204.13902, equations 14-16; for blocks derived (see `_frame`).
"""

from jaxgen.solvers._tables._density import density_row
from jaxgen.solvers._tables._frame import frame
from jaxgen.solvers._tables._moments import carry, ramped
from jaxgen.solvers._tables._options import (
    CLOCKS,
    HOLDS,
    STARTS,
    choose,
    counted,
    planner,
    whole_order,
)
from jaxgen.solvers._tables._table import TableRow, reading, table


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
        read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
        weights = carry(parts.base[1:], weights)
        return TableRow(ts[:-1], ts[1:], read, parts.step, weights, density=density)

    return table(
        process,
        denoiser,
        planner(name, process, build, order=order, start=start),
        width=order,
        hold=hold,
        order=order,
        evaluations=counted(order, start),
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
