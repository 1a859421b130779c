"""Linear multistep methods on the noise prediction: iPNDM, and LMS."""

import numpy as np

from jaxgen.math import gauss_legendre, namespace
from jaxgen.solvers._tables._frame import NODES, frame
from jaxgen.solvers._tables._moments import carry, ramped
from jaxgen.solvers._tables._options import choose, planner, whole_order
from jaxgen.solvers._tables._table import TableRow, reading, table
from jaxgen.solvers.exponential._multistep import adams_bashforth

# Adams-Bashforth on evenly spaced stops, the latest first.
EVEN = (
    (1, 0, 0, 0),
    (3 / 2, -1 / 2, 0, 0),
    (23 / 12, -16 / 12, 5 / 12, 0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def ipndm(process, denoiser, *, order=4, variable=False):
    """The iPNDM Solver: DDIM with the mean of the last `order` (1 to 4) noise predictions, in the
    weights of an Adams-Bashforth method; z is [*event] or [c, *event].

    The weights are the constants of evenly spaced stops or, with variable=True, those of the actual
    stops in t. Both average the prediction and not its product with the force, which is consistent
    to second order: `Solver.order` is min(order, 2), and with constant weights that needs stops
    that a smooth function makes of even ones (it is 1 otherwise). At 3 to 10 evaluations of image
    networks it is hard to beat all the same. The first steps climb the orders. Raises ValueError on
    options outside these, fewer steps than `order`, or stops outside the process.
    Source: Liu et al. 2022, arXiv 2202.09778, equation 12; Zhang and Chen 2023, arXiv 2204.13902,
    appendix (iPNDM); the orders are derived.
    """
    name = "ipndm"
    whole_order(name, order, 1, 4)
    choose(name, "variable", variable, (False, True))

    def build(process, ts):
        parts = frame(process, ts, hold="eps", clock="t")
        shares = _actual(parts, order) if variable else _even(ts.shape[0] - 1, order)
        weights = namespace(parts.force).einsum("nk,n...->nk...", shares, parts.force)
        read = reading(process, parts.phi[:-1], parts.root[:-1])
        return TableRow(ts[:-1], ts[1:], read, parts.step, carry(parts.base[1:], weights))

    plan = planner(name, process, build, order=order)
    return table(process, denoiser, plan, width=order, hold="eps", order=min(order, 2))


def _even(n, order):
    return np.array(EVEN)[np.minimum(np.arange(n), order - 1), :order]


def _actual(parts, order):
    """The shares [n, order] of int l_j dt in each step: the moments of a force that is t itself."""
    gaps = parts.clock[1:] - parts.clock[:-1]
    inner = gaps[:, None] * gauss_legendre(NODES)[0][None]
    timed = parts._replace(force=gaps, inner=inner)
    return ramped(timed, order, lambda nodes: range(0, -nodes, -1)) / gaps[:, None]


def lms(process, denoiser, *, order=4, start="ramp"):
    """The linear multistep Solver of k-diffusion: Adams-Bashforth of `order` (1 to 6) for
    d(x / alpha) = eps d(sigma / alpha), with exact integrals; z is [*event] or [c, *event].

    It is `adams_bashforth` with hold="eps" and clock="rho", whose `start` and errors it has.
    Source: Adams and Bashforth 1883; Karras et al. 2022, arXiv 2206.00364, equation 1; the method
    is known from the k-diffusion package.
    """
    return adams_bashforth(process, denoiser, order=order, hold="eps", clock="rho", start=start)
