"""Phase-space Langevin diffusion: noise enters both the data and their velocity."""

from jax.tree_util import Partial

from jaxgen.math import is_concrete, namespace
from jaxgen.processes._record import check_positive, check_snr, check_times
from jaxgen.processes.augmented._constant import times
from jaxgen.processes.augmented._nilpotent import powers_of, transition
from jaxgen.types import LinearForward


def psld(gamma=0.01, nu=4.01, beta=8.0, start=0.04, *, t_min=1e-3, t_max=1.0):
    """Phase-space Langevin diffusion on z = (x, v) [2, *event], critically damped; coefficients [2,
    2].

    dx = beta / 2 (-gamma x + v / M) dt + sqrt(beta gamma) dw, dv = -beta / 2 (x + nu v) dt +
    sqrt(beta M nu) dw' with 1 / M = (gamma - nu)^2 / 4, v_0 ~ N(0, start M); stationary law N(0,
    diag(1, M)), double eigenvalue -beta (gamma + nu) / 4. gamma = 0 is `cld` with half the beta. It
    is also the `recipe` with D = diag(gamma, M nu) / 2 and Q = [[0, -1], [1, 0]] / 2.
    Raises ValueError unless gamma >= 0, gamma < nu, beta > 0, start > 0 and the times are ordered.
    gamma, nu, beta and start can be learned. Source: Pandey and Mandt 2023, arXiv 2303.01748,
    section 3.1 and appendix B.3 (kernel); the factor of the covariance is derived.
    """
    name = "processes.augmented.psld"
    check_times(name, t_min, t_max)
    check_positive(name, beta=beta, start=start)
    if is_concrete(gamma, nu) and not 0 <= gamma < nu:
        raise ValueError(f"{name}: 0 <= gamma < nu must hold; got gamma={gamma}, nu={nu}")
    process = LinearForward(
        Partial(_drift, gamma, nu, beta),
        Partial(_diffusion, gamma, nu, beta),
        Partial(_transition, gamma, nu, beta, start),
        t_min,
        t_max,
    )
    check_snr(name, process)
    return process


def _matrices(xp, gamma, nu):
    """A, C [2, 2] of dz = A z ds + C dw on the clock s = beta t, and the mass []."""
    zero = 0.0 * (gamma + nu)
    mass = 4 / (nu - gamma) ** 2
    matrix = _matrix(xp, -gamma / 2, 0.5 / mass, zero - 0.5, -nu / 2)
    return matrix, _matrix(xp, xp.sqrt(gamma), zero, zero, xp.sqrt(mass * nu)), mass


def _drift(gamma, nu, beta, t):
    xp = namespace(gamma, nu, beta, t)
    rate = beta + 0.0 * xp.asarray(t)
    return times(xp, _matrices(xp, gamma, nu)[0], rate)


def _diffusion(gamma, nu, beta, t):
    xp = namespace(gamma, nu, beta, t)
    size = xp.sqrt(beta + 0.0 * xp.asarray(t))
    return times(xp, _matrices(xp, gamma, nu)[1], size)


def _transition(gamma, nu, beta, start, t):
    xp = namespace(gamma, nu, beta, start, t)
    clock = beta * xp.asarray(t)
    matrix, impulse, mass = _matrices(xp, gamma, nu)
    rate = (gamma + nu) / 4
    powers = powers_of(matrix + rate * xp.asarray([[1.0, 0.0], [0.0, 1.0]], matrix.dtype))
    begun = xp.stack([0.0 * mass * start, xp.sqrt(mass * start)])[:, None]
    return transition(powers, rate, impulse, begun, clock)


def _matrix(xp, a, b, c, d):
    parts = [xp.asarray(part) for part in (a, b, c, d)]
    return xp.stack([xp.stack(parts[:2]), xp.stack(parts[2:])])
