"""Carrying the log-density along an exponential integrator.

With y = U^-1 z the flow is dy = dV held(t), so log p(z(b)) - log p(z(a)) = -log |det U(b) U(a)^-1|
- int tr(dV d held/dz U): the traces are held polynomial like the predictions, with the same
moments.
Source: derived (change of variables; Chen et al. 2018, arXiv 1806.07366, theorem 1).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxgen.math import namespace
from jaxgen.solvers._tables._frame import columns


class DensityRow(NamedTuple):
    """What a step needs to carry the log-density along. Source: definition."""

    log_det: Any  # [] log |det U(b) U(a)^-1|, for one event entry
    read: Any  # how traces of the denoiser's Jacobian become held ones
    weights: Any  # [k, ...] int l_j dV


def density_row(process, parts, weights, hold):
    """The `DensityRow`s [n, ...] of a frame and its moments [n, k, ...]. Source: definition."""
    xp = namespace(parts.root)
    phi, root, column = parts.phi[:-1], parts.root[:-1], columns(process, parts.phi)[:-1]
    if root.ndim == 1:
        log_det = xp.log(xp.abs(parts.step))
        read = (column / root, -(column**2) / root) if hold == "eps" else (0 * root, root)
    else:
        log_det = xp.linalg.slogdet(parts.step)[1]
        inverse = xp.linalg.inv(root)
        read = (
            (inverse @ phi, xp.einsum("nij,nj->ni", inverse, column), phi)
            if hold == "eps"
            else (root,)
        )
    return DensityRow(log_det, read, weights)


def hold_trace(read, trace, size, hold, blocks):
    """tr(d held/dz U) over the event, from the traces of d x0hat/dz: [...] for scalar processes,
    [..., c] or [..., c, c] for blocks; `size` is the number of entries of the event.

    Source: definition.
    """
    if blocks is None:
        return size * read[0] + read[1] * trace
    if hold == "x0":
        return trace @ read[0]
    inverse_phi, column, phi = read
    outer = column.reshape((1,) * (trace.ndim - 1) + (-1, 1)) * (trace @ phi)[..., None, :]
    return size * inverse_phi.reshape((1,) * (trace.ndim - 1) + inverse_phi.shape) - outer


def pair(weight, trace, hold, blocks):
    """The contraction [...] of a held trace with a moment of dV. Source: definition."""
    if blocks is None:
        return weight * trace
    return jnp.einsum("ij,...ji->..." if hold == "eps" else "i,...i->...", weight, trace)
