"""High-order Langevin dynamics: data are noised through a chain of auxiliaries."""

import functools
import math

import numpy as np
from jax.tree_util import Partial

from jaxgen.math import namespace
from jaxgen.processes._record import check_positive, check_snr, check_times
from jaxgen.processes.augmented._constant import times
from jaxgen.processes.augmented._nilpotent import powers_of, transition
from jaxgen.types import LinearForward


def hold(order=3, beta=6.0, inverse_mass=1.0, start=0.04, *, t_min=None, t_max=1.0):
    """Critically damped Langevin diffusion of any order n on z [n, *event]; coefficients [n, n].

    dz_i = beta (gamma_i z_(i+1) - gamma_(i-1) z_(i-1)) dt, the last block also -beta xi z_n dt +
    sqrt(2 xi beta / L) dw; all auxiliaries start as N(0, start / L), L = inverse_mass. gamma_1 = 1,
    and the other coefficients make all n eigenvalues equal, -a: order 3 has gamma = (1, 2 sqrt 2),
    xi = 3 sqrt 3, a = sqrt 3; order 2 is `cld` with v / sqrt(M) and mass 1.
    Raises ValueError unless order is an integer from 2 to 8, the numbers [] are positive and the
    times ordered. beta, inverse_mass and start can be learned. The transition is exact: A + a I is
    nilpotent, so a noise impulse of age s arrives as e^(-a s) times polynomials of s, and L is the
    triangular factor of such columns. t_min None is 1e-3 up to order 3 and 0.012 (order - 3)
    above, where the log-SNR is still above 16 nats with the defaults: it grows as t^(1 - 2 order),
    and far beyond that float32 cannot hold L to 1e-4.
    Source: Shi and Liu 2024, arXiv 2404.12814; coefficients for any n from the Schwarz form of (s +
    a)^n, derived.
    """
    name = "processes.augmented.hold"
    if not isinstance(order, int) or not 2 <= order <= 8:
        raise ValueError(f"{name}: order must be an integer from 2 to 8; got {order!r}")
    if t_min is None:
        t_min = 1e-3 if order <= 3 else 0.012 * (order - 3)
    check_times(name, t_min, t_max)
    check_positive(name, beta=beta, inverse_mass=inverse_mass, start=start)
    drift, diffusion, transition = _of_order(order)
    process = LinearForward(
        Partial(drift, beta),
        Partial(diffusion, beta, inverse_mass),
        Partial(transition, beta, inverse_mass, start),
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


@functools.cache
def _of_order(order):
    """The three functions of a record; kept, since jit compiles anew for each new function."""
    return tuple(functools.partial(fn, order) for fn in (_drift, _diffusion, _transition))


def _drift(order, beta, t):
    xp = namespace(beta, t)
    rate = beta + 0.0 * xp.asarray(t)
    return times(xp, critical_damping(order)[0], rate)


def _diffusion(order, beta, inverse_mass, t):
    xp = namespace(beta, inverse_mass, t)
    corner = np.zeros((order, order))
    corner[-1, -1] = math.sqrt(-2 * critical_damping(order)[0][-1, -1])
    size = xp.sqrt(beta / inverse_mass) + 0.0 * xp.asarray(t)
    return times(xp, corner, size)


def _transition(order, beta, inverse_mass, start, t):
    xp = namespace(beta, inverse_mass, start, t)
    matrix, rate = critical_damping(order)
    clock = beta * xp.asarray(t)
    powers = powers_of(matrix + rate * np.eye(order))
    scale = 1 / xp.sqrt(inverse_mass + 0.0 * start)
    corner = np.eye(order)[:, -1:] * math.sqrt(-2 * matrix[-1, -1])
    begun = xp.asarray(np.eye(order)[:, 1:]) * (xp.sqrt(start) * scale)
    return transition(powers, rate, xp.asarray(corner) * scale, begun, clock)
