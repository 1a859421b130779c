"""Stochastic exponential Adams-Bashforth methods: one evaluation a step.

    z(b) = Psi z(a) + sum_j C_j held_j + N noise

is the exact solution of the reverse-time SDE of noise level tau for a prediction that is
polynomial. The mean of z is followed with the order of the polynomial. Its covariance has a part
that the polynomial cannot see, the noise inside the predictions, and is followed with order 2 at
most. Source: Xue et al. 2023, arXiv 2309.05019, proposition 4.2 and section 5.1; orders derived and
measured.
"""

from jaxgen.math import namespace, square_root
from jaxgen.processes import num_blocks
from jaxgen.solvers._tables._frame import frame, log_gain
from jaxgen.solvers._tables._moments import carry, ramped, relaxed
from jaxgen.solvers._tables._options import CLOCKS, HOLDS
from jaxgen.solvers._tables._table import table
from jaxgen.solvers.sde._options import (
    check_level,
    choose,
    claimed,
    levels,
    number_in,
    planner,
    rows,
    whole_order,
)


def exponential_sde(process, denoiser, *, order=2, tau=1.0, hold="x0", clock="log_snr"):
    """The stochastic exponential Adams-Bashforth Solver of noise level tau, z [*event] or [c,
    *event]: weak order min(order, 2), and `order` for the mean; one evaluation a step.

    Args: order, how many stops the polynomial uses (1 to 6), fewer while there is no past; tau, the
        noise level, 0 for the probability flow, 1 for the reverse SDE, any number from 0, or a
        function of t [], read at the start of each step; hold, which prediction is polynomial, "x0"
        or "eps"; clock, in which variable: "t", "log_snr" (lambda) or "rho" = exp(-lambda).
    Each info has the step's log-weight against the forward process, given its past, where tau > 0.
    Raises ValueError on options outside these; and, from plan, on rising stops or stops outside the
    process.
    Source: Xue et al. 2023, arXiv 2309.05019, section 5.1; hold "eps" and blocks derived.
    """
    name = "exponential_sde"
    whole_order(name, order)
    choose(name, "hold", hold, HOLDS)
    choose(name, "clock", clock, CLOCKS)
    check_level(name, tau)

    def build(process, ts, tau):
        level = levels(tau, ts)
        parts = frame(process, ts, hold=hold, clock=clock if order > 1 else "t", tau=level)
        weights = ramped(parts, order, lambda nodes: range(0, -nodes, -1))
        return rows(process, ts, parts, carry(parts.base[1:], weights), hold, level)

    plan = planner(name, process, build, tau)
    return table(process, denoiser, plan, width=order, hold=hold, order=claimed(order, tau))


def sde_dpmpp_2m(process, denoiser):
    """The SDE-DPM-Solver++(2M) Solver: the reverse SDE, with x0hat extrapolated to the middle of
    the step in log-SNR; z [*event] or [c, *event], weak order 2, one evaluation a step.

    D = (1 + r) x0_i - r x0_(i-1), r = h_i / (2 h_(i-1)), is held constant over the step; the first
    step has order 1. Each info has the step's log-weight against the forward process, given its
    past. Raises ValueError (from plan) on rising stops, or stops outside the process.
    Source: Lu et al. 2022, arXiv 2211.01095, section 6 and appendix (SDE-DPM-Solver++(2M)); for
    blocks derived.
    """

    def build(process, ts):
        parts = frame(process, ts, hold="x0", clock="t", tau=1.0)
        lam = log_gain(process, ts)
        weights = relaxed(parts.force, lam[1:] - lam[:-1])
        return rows(process, ts, parts, carry(parts.base[1:], weights), "x0", 1.0)

    return table(
        process, denoiser, planner("sde_dpmpp_2m", process, build), width=2, hold="x0", order=2
    )


def ddim_eta(process, denoiser, *, eta=1.0):
    """The DDIM(eta) Solver, x0hat held over a step: the probability flow (`exponential.ddim`) at
    eta = 0, ancestral sampling at 1; z [*event] or [c, *event], weak order 1.

    Scalar processes draw z_s ~ N(alpha_s x0hat + sqrt(sigma_s^2 - eta^2 v) epshat, eta^2 v), v the
    variance of the ancestral step. Blocks take the noise level tau = eta (gDDIM), which is the same
    to first order in the step. Args: eta, a number [] from 0 to 1. Each info has the step's
    log-weight against the forward process where eta > 0. Raises ValueError on other eta; and, from
    plan, on rising stops or stops outside the process.
    Source: Song et al. 2021, arXiv 2010.02502, equations 12 and 16; Zhang et al. 2023, arXiv
    2206.05564, proposition 6.
    """
    number_in("ddim_eta", "eta", eta, 0, 1)

    def build(process, ts, eta):
        level = _level(process, ts, eta)
        parts = frame(process, ts, hold="x0", clock="t", tau=level)
        weights = ramped(parts, 1, lambda nodes: (0,))
        return rows(process, ts, parts, carry(parts.base[1:], weights), "x0", level)

    plan = planner("ddim_eta", process, build, eta)
    return table(process, denoiser, plan, width=1, hold="x0", order=1)


def _level(process, ts, eta):
    """The noise levels [n] of DDIM(eta): exp(-2 tau^2 h) = 1 - eta^2 (1 - exp(-2 h))."""
    xp = namespace(process, ts, eta)
    if num_blocks(process) is not None:
        return eta
    lam = log_gain(process, ts)
    h = lam[1:] - lam[:-1]
    near, far = xp.log1p(eta**2 * xp.expm1(-2 * h)), xp.log(1 - eta**2 + eta**2 * xp.exp(-2 * h))
    kept = xp.where(h < 1, near, far)
    return xp.where(xp.isinf(h), eta, square_root(-kept / (2 * h)))
