"""Critically damped Langevin diffusion: noise enters a velocity, data are noised through it."""

from jax.tree_util import Partial

from jaxgen.math import gauss_legendre, namespace
from jaxgen.processes._record import check_positive, check_snr, check_times
from jaxgen.types import LinearForward

_NODES = 40


def cld(beta=4.0, mass=0.25, start=0.04, *, t_min=1e-3, t_max=1.0):
    """Critically damped Langevin diffusion on z = (x, v) [2, *event]; coefficients [2, 2].

    dx = beta v / M dt, dv = -beta (x + Gamma v / M) dt + sqrt(2 Gamma beta) dw with Gamma = 2
    sqrt(M), v_0 ~ N(0, start M).
    Args: beta, mass M and start, positive numbers []. Raises ValueError when one is not, or times
    are not ordered. The transition is exact: A + a I is nilpotent (a = Gamma / 2M), so every noise
    impulse of age s arrives as e^(-a s) (s/M, 1 - a s), and Sigma is an integral of such rank-one
    terms, the start being one more impulse of age B. Its determinant is a variance of ages over
    M^2, which has no cancellation at small t. `mass` and `start` can be learned.
    Source: Dockhorn et al. 2022, arXiv 2112.07068, equations 5-7; their appendix B.1 gives Sigma;
    this form is derived.
    """
    name = "processes.augmented.cld"
    check_times(name, t_min, t_max)
    check_positive(name, beta=beta, mass=mass, start=start)
    numbers = (beta, mass, start)
    process = LinearForward(
        Partial(_drift, *numbers),
        Partial(_diffusion, *numbers),
        Partial(_transition, *numbers),
        t_min,
        t_max,
    )
    check_snr(name, process)
    return process


def _drift(beta, mass, start, t):
    xp = namespace(beta, mass, t)
    zero = 0.0 * xp.asarray(t)
    rate = beta + zero
    return _matrix(xp, zero, rate / mass, -rate, -rate * 2 / xp.sqrt(mass))


def _diffusion(beta, mass, start, t):
    xp = namespace(beta, mass, t)
    zero = 0.0 * xp.asarray(t)
    return _matrix(xp, zero, zero, zero, xp.sqrt(4 * xp.sqrt(mass) * beta) + zero)


def _transition(beta, mass, start, t):
    xp = namespace(beta, mass, start, t)
    clock = beta * xp.asarray(t)
    damping = 1 / xp.sqrt(mass)  # a = Gamma / 2M
    decay = xp.exp(-damping * clock)
    phi = _matrix(
        xp,
        decay * (1 + damping * clock),
        decay * clock / mass,
        -decay * clock,
        decay * (1 - damping * clock),
    )
    nodes, weights = (part.reshape((1,) * clock.ndim + (-1,)) for part in gauss_legendre(_NODES))
    ages = clock[..., None] * nodes
    impulses = clock[..., None] * weights * 4 * xp.sqrt(mass) * xp.exp(-2 * damping * ages)
    ages = xp.concatenate([ages, clock[..., None]], -1)
    impulses = xp.concatenate([impulses, (start * mass * decay**2)[..., None]], -1)
    total, second = xp.sum(impulses, -1), xp.sum(impulses * ages**2, -1)
    cross = xp.sum(impulses * ages * (1 - damping * ages), -1)
    spread = xp.sum(impulses * (ages - (xp.sum(impulses * ages, -1) / total)[..., None]) ** 2, -1)
    position = xp.sqrt(second) / mass
    return phi, _matrix(
        xp,
        position,
        0 * position,
        cross / mass / position,
        xp.sqrt(total * spread) / mass / position,
    )


def _matrix(xp, a, b, c, d):
    return xp.stack([xp.stack([a, b], -1), xp.stack([c, d], -1)], -2)
