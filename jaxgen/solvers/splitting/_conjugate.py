"""Conjugate integrators: Euler's method in coordinates where the flow is gentle."""

from jaxgen.math import gauss_legendre, namespace
from jaxgen.solvers._tables._frame import NODES, frame
from jaxgen.solvers._tables._moments import carry
from jaxgen.solvers._tables._table import TableRow, reading, table
from jaxgen.solvers.splitting._options import check_blocks, number_in, planner


def conjugate(process, denoiser, *, shift=0.5):
    """The conjugate Solver of the probability flow in phase space, z [c, *event]: order 1, one
    evaluation a step; the paper's lambda-DDIM-I with lambda = shift [].

    Euler's method on zhat = e^(shift t) Phi(t)^-1 z with the noise prediction held, whose force is
    integrated exactly. shift = 0 is `exponential.deis` of order 1; a tuned number can be better at
    few steps. Raises ValueError on scalar processes or a shift that is not a number; and, from
    plan, on rising stops or stops outside the process.
    Source: Pandey et al. 2024, arXiv 2310.07894, definition 3.1, proposition 1 and section 3.3 (B =
    lambda I). Deviation: the held noise prediction is whitened by R, as everywhere here.
    """
    check_blocks("conjugate", process)
    number_in("conjugate", "shift", shift, -1e6, 1e6)

    def build(process, ts, shift):
        xp = namespace(process, ts)
        parts = frame(process, ts, hold="eps", clock="t")
        h = ts[1:] - ts[:-1]
        nodes, shares = gauss_legendre(NODES)
        # int e^(shift (s - b)) dV by parts
        growth = shift * xp.exp(shift * h[:, None] * (nodes[None] - 1)) * h[:, None] * shares[None]
        force = parts.force - xp.einsum("nq,nqij->nij", growth, parts.inner)
        scale = ((1 + shift * h) * xp.exp(-shift * h))[:, None, None]
        read = reading(process, parts.phi[:-1], parts.root[:-1])
        weights = carry(parts.base[1:], force[:, None])
        return TableRow(ts[:-1], ts[1:], read, parts.step * scale, weights)

    plan = planner("conjugate", process, build, shift)
    return table(process, denoiser, plan, width=1, hold="eps", order=1)
