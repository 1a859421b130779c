"""High-order Langevin dynamics: data are noised through a chain of auxiliaries."""

import math

import numpy as np
from jax.tree_util import Partial

from jaxgen.math import gauss_legendre, is_concrete, namespace
from jaxgen.processes._record import check_snr, check_times
from jaxgen.types import LinearForward

_NODES = 40


def hold(order=3, beta=6.0, inverse_mass=1.0, start=0.04, *, t_min=1e-3, t_max=1.0):
    """Critically damped Langevin diffusion of any order n on z [n, *event]; coefficients [n, n].

    dz_i = beta (gamma_i z_(i+1) - gamma_(i-1) z_(i-1)) dt, the last block also -beta xi z_n dt +
    sqrt(2 xi beta / L) dw; all auxiliaries start as N(0, start / L), L = inverse_mass. gamma_1 = 1,
    and the other coefficients make all n eigenvalues equal, -a: order 3 has gamma = (1, 2 sqrt 2),
    xi = 3 sqrt 3, a = sqrt 3; order 2 is `cld` with v / sqrt(M) and mass 1.
    Raises ValueError unless order is an integer from 2 to 8, the numbers [] are positive and the
    times ordered. beta, inverse_mass and start can be learned. The transition is exact: A + a I is
    nilpotent, so a noise impulse of age s arrives as e^(-a s) times polynomials of s, and L is the
    triangular factor (QR) of such columns, with full relative accuracy at small t. Give `order` 4
    and more a larger t_min: the position's noise falls as t^(order - 1/2).
    Source: Shi and Liu 2024, arXiv 2404.12814; coefficients for any n from the Schwarz form of (s +
    a)^n, derived.
    """
    name = "processes.augmented.hold"
    if not isinstance(order, int) or not 2 <= order <= 8:
        raise ValueError(f"{name}: order must be an integer from 2 to 8; got {order!r}")
    check_times(name, t_min, t_max)
    for label, number in {"beta": beta, "inverse_mass": inverse_mass, "start": start}.items():
        if is_concrete(number) and not number > 0:
            raise ValueError(f"{name}: {label} must be positive; got {number}")
    matrix, rate = critical_damping(order)
    numbers = (matrix, rate, beta, inverse_mass, start)
    process = LinearForward(
        Partial(_drift, *numbers),
        Partial(_diffusion, *numbers),
        Partial(_transition, *numbers),
        t_min,
        t_max,
    )
    check_snr(name, process)
    return process


def critical_damping(order):
    """The tridiagonal matrix A [n, n] of dz = A z ds with gamma_1 = 1, all of whose eigenvalues are
    -a, and a.

    The first column r of the Routh array of (s + 1)^n gives xi = r_1 and gamma_(n-k+1)^2 = r_k /
    r_(k-2). Source: Schwarz 1956; derived.
    """
    upper = [math.comb(order, k) for k in range(0, order + 1, 2)]
    lower = [math.comb(order, k) for k in range(1, order + 1, 2)]
    column = [upper[0], lower[0]]
    while len(column) <= order:
        padded = lower + [0.0] * (len(upper) - len(lower))
        below = [upper[j + 1] - upper[0] / lower[0] * padded[j + 1] for j in range(len(upper) - 1)]
        upper, lower = lower, below
        column.append(lower[0])
    matrix = np.zeros((order, order))
    matrix[-1, -1] = -column[1]
    for k in range(2, order + 1):
        i, gamma = order - k, math.sqrt(column[k] / column[k - 2])
        matrix[i, i + 1], matrix[i + 1, i] = gamma, -gamma
    return matrix / matrix[0, 1], 1 / matrix[0, 1]


def _drift(matrix, rate, beta, inverse_mass, start, t):
    xp = namespace(matrix, beta, t)
    return (beta + 0.0 * xp.asarray(t))[..., None, None] * matrix


def _diffusion(matrix, rate, beta, inverse_mass, start, t):
    xp = namespace(matrix, beta, inverse_mass, t)
    corner = np.zeros(matrix.shape)
    corner[-1, -1] = 1.0
    size = xp.sqrt(-2 * matrix[-1, -1] * beta / inverse_mass)
    return (size + 0.0 * xp.asarray(t))[..., None, None] * corner


def _transition(matrix, rate, beta, inverse_mass, start, t):
    xp = namespace(matrix, beta, inverse_mass, start, t)
    clock = beta * xp.asarray(t)
    powers = _powers(matrix + rate * np.eye(len(matrix)))
    phi = xp.exp(-rate * clock)[..., None, None] * _polynomial(powers, clock[..., None, None])
    nodes, weights = (part.reshape((1,) * clock.ndim + (-1,)) for part in gauss_legendre(_NODES))
    ages = clock[..., None] * nodes
    sizes = xp.exp(-rate * ages) * xp.sqrt(clock[..., None] * weights * -2 * matrix[-1, -1])
    impulses = sizes[..., None] * _polynomial(powers[:, :, -1], ages[..., None])
    begun = xp.sqrt(start + 0.0 * clock)[..., None, None] * xp.swapaxes(phi, -1, -2)[..., 1:, :]
    rows = xp.concatenate([impulses, begun], -2) / xp.sqrt(
        inverse_mass + 0.0 * clock[..., None, None]
    )
    norms = xp.sqrt(xp.sum(rows**2, -2, keepdims=True))
    factor = xp.linalg.qr(rows / norms)[1] * norms
    signs = xp.sign(xp.diagonal(factor, axis1=-2, axis2=-1))
    return phi, xp.swapaxes(factor * signs[..., None], -1, -2)


def _powers(nilpotent):
    """N^k / k! [n, n, n] of a matrix whose n-th power is 0."""
    xp = namespace(nilpotent)
    powers = [xp.eye(len(nilpotent), dtype=nilpotent.dtype)]
    for k in range(1, len(nilpotent)):
        powers.append(nilpotent @ powers[-1] / k)
    return xp.stack(powers)


def _polynomial(powers, s):
    """sum_k powers[k] s^k, by Horner's rule."""
    total = powers[-1] + 0.0 * s
    for power in powers[-2::-1]:
        total = power + s * total
    return total
