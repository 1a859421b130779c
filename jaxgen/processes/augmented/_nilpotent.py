"""Transitions at critical damping: A + a I is nilpotent, so exp(A s) is a polynomial times e^(-a
s).
"""

import numpy as np

from jaxgen.math import factor_of_rows, gauss_legendre, namespace

_NODES = 28


def transition(powers, rate, impulse, start, clock):
    """(Phi, L) [..., c, c] at clock s [...] of dz = A z ds + C dw with exp(A s) = e^(-a s) sum_k
    N^k s^k / k!.

    Args: powers [c, c, c], N^k / k!; rate = a []; impulse = C [c, m]; start [c, k], a factor of the
    covariance at s = 0. A noise impulse of age s arrives as e^(-a s) times polynomials of s, and L
    is the triangular factor (QR) of such columns, with full relative accuracy at small s. Source:
    derived.
    """
    xp = namespace(powers, rate, impulse, start, clock)
    clock = xp.asarray(clock)
    powers, impulse, start = (xp.asarray(part, clock.dtype) for part in (powers, impulse, start))
    c = powers.shape[0]
    monomials = lambda s: xp.stack([s**k for k in range(c)], -1)
    phi = xp.einsum("...k,kij->...ij", xp.exp(-rate * clock)[..., None] * monomials(clock), powers)
    nodes, weights = (part.reshape((1,) * clock.ndim + (-1,)) for part in gauss_legendre(_NODES))
    ages = clock[..., None] * nodes
    sizes = xp.exp(-rate * ages) * xp.sqrt(clock[..., None] * weights)
    moved = xp.einsum("kij,jm->kmi", powers, impulse)
    impulses = xp.einsum("...qk,kmi->...qmi", sizes[..., None] * monomials(ages), moved)
    impulses = impulses.reshape(*clock.shape, _NODES * impulse.shape[1], c)
    begun = xp.swapaxes(phi @ start, -1, -2)
    return phi, factor_of_rows(xp.concatenate([impulses, begun], -2))


def powers_of(nilpotent):
    """N^k / k! [c, c, c] of a matrix [c, c] whose c-th power is 0. Source: definition."""
    xp = namespace(nilpotent)
    powers = [xp.asarray(np.eye(len(nilpotent)), nilpotent.dtype)]
    for k in range(1, len(nilpotent)):
        powers.append(nilpotent @ powers[-1] / k)
    return xp.stack(powers)
