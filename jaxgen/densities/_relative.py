"""Scores of any log-density under noise, by its density relative to the standard normal law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.types import DiagonalForward


def hermite_noise(d, n=64):
    """(points [n^d, d], log-weights [n^d]): Gauss-Hermite quadrature of the standard normal law, of
    n nodes in each direction.

    Raises ValueError on d < 1 or n < 1. Source: Golub and Welsch 1969, as computed by NumPy.
    """
    if d < 1 or n < 1:
        raise ValueError(f"densities.hermite_noise: d and n must be at least 1; got {d} and {n}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    logs = np.log(weights) - np.log(np.sum(weights))
    points = np.array(list(itertools.product(nodes, repeat=d)))
    return points, np.array([sum(each) for each in itertools.product(logs, repeat=d)])


def relative_score(logdensity_fn, process, noise, log_weights=None):
    """score_fn(x, t) = grad log p_t(x) [d] under a scalar process, of data with any log-density,
    normalised or not.

    With f = p / normal, p_t = (P_t f) normal, so the score is -x + grad log E f(alpha x + sigma
    eps) where alpha^2 + sigma^2 = 1; another process is scaled to that first. Log-density and
    gradient are all that is asked of the data, and the mean runs over the points handed in.
    Args: logdensity_fn, x [d] -> []; noise [m, d] and log_weights [m], those of `hermite_noise` (to
        rounding in one or two dimensions where p is no narrower than about a half), or draws of the
        standard normal law with log_weights None (Monte Carlo).
    Raises ValueError on noise that is not [m, d], a process diagonal in a basis and, when traced,
    on blocks.
    Source: derived; the relative density is that of Cole and Lu 2024, arXiv 2402.08082.
    """
    name = "densities.relative_score"
    if np.ndim(noise) != 2 or len(noise) < 1:
        raise ValueError(f"{name}: noise must have shape [m, d]; got {np.shape(noise)}")
    if isinstance(process, DiagonalForward):
        raise ValueError(f"{name}: the process must be scalar; got one diagonal in a basis")

    def log_mean(x, alpha, sigma):
        points = alpha * x[None] + sigma * jnp.asarray(noise, x.dtype)
        logs = jax.vmap(logdensity_fn)(points) + jnp.sum(points**2, 1) / 2
        if log_weights is not None:
            logs += jnp.asarray(log_weights, x.dtype)
        return jax.nn.logsumexp(logs)

    slope = jax.grad(log_mean)

    def score_fn(x, t):
        alpha, sigma = process.transition(t)
        if np.ndim(alpha):
            raise ValueError(f"{name}: the process must be scalar; got blocks {np.shape(alpha)}")
        norm = jnp.sqrt(alpha**2 + sigma**2).astype(x.dtype)
        return (slope(x / norm, alpha / norm, sigma / norm) - x / norm) / norm

    return score_fn
