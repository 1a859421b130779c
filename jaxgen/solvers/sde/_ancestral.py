"""Ancestral sampling: each step draws from the exact posterior of the earlier state, given the
predicted data.
"""

from jaxgen.math import namespace, square_root
from jaxgen.processes import num_blocks
from jaxgen.solvers._tables._noise import remainder
from jaxgen.solvers._tables._table import TableRow, table
from jaxgen.solvers.sde._options import planner, with_path


def ancestral(process, denoiser):
    """The ancestral Solver: z_s ~ q(z_s | z_t, x0 = x0hat), weak order 1, one evaluation a step; z
    is [*event] or [c, *event].

    With VP it is DDPM sampling with the smaller variance. For blocks the posterior is that of the
    joint Gaussian. Each info reports the step's log Radon-Nikodym weight against the forward
    process: target(z_0) exp(sum) / prior(z_n) weighs a path. Works towards the data only: raises
    ValueError (from plan) on rising stops, or stops outside the process.
    Source: Ho et al. 2020, arXiv 2006.11239, equations 6-7; for blocks and the weights derived
    (Gaussian conditioning).
    """
    return table(
        process, denoiser, planner("ancestral", process, _rows), width=1, hold="x0", order=1
    )


def _rows(process, ts):
    xp = namespace(process, ts)
    phi, chol = process.transition(ts)
    if num_blocks(process) is None:
        alpha, sigma = phi, chol
        ratio = alpha[:-1] / alpha[1:]  # Psi = alpha_t / alpha_s with s the later stop of the list
        kept = sigma[1:] ** 2 * ratio / sigma[:-1] ** 2
        noise = sigma[1:] * square_root(1 - (ratio * sigma[1:] / sigma[:-1]) ** 2)
        weight = alpha[1:] - kept * alpha[:-1]
    else:
        column, inverse = phi[..., 0], xp.linalg.inv(chol)
        psi = phi[:-1] @ xp.linalg.inv(phi[1:])
        # L_s^T Psi^T L_t^-T: the posterior is L_s (1 - spread spread^T) L_s^T
        spread = xp.swapaxes(inverse[:-1] @ psi @ chol[1:], -1, -2)
        kept = chol[1:] @ spread @ inverse[:-1]
        noise = remainder(chol[1:], spread)
        weight = column[1:] - xp.einsum("nij,nj->ni", kept, column[:-1])
    row = TableRow(ts[:-1], ts[1:], None, kept, weight[:, None], noise)
    return with_path(process, ts, row, 1.0)
