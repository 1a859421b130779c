"""Textbook twins: closed-form transitions, and Gaussian mixtures seen through a linear channel.

Written from the papers' formulas in their own notation, for z [c, d] = column x0 + noise of
covariance cov [c, c] in each of d directions; a scalar process is c = 1. Nothing here is the code
under test.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

WEIGHTS = np.array([0.25, 0.45, 0.3])
MEANS = np.array([[-1.2, 0.4], [0.9, 1.0], [0.5, -1.1]])
VARIANCES = np.array([0.09, 0.25, 0.04])
MIXTURE = (WEIGHTS, MEANS, VARIANCES)

SCHEDULES = {  # t -> (alpha, sigma)
    "vp": lambda t: (np.exp(-_clock(t) / 2), np.sqrt(-np.expm1(-_clock(t)))),
    "ve": lambda t: (1.0, 0.01 * 5000.0**t),
    "edm": lambda t: (1.0, t),
    "linear_flow": lambda t: (1 - t, t),
}


def _clock(t):
    return 0.1 * t + 19.9 * t**2 / 2


def _cld(t, beta=4.0, mass=0.25, start=0.04):
    gamma = 2 * np.sqrt(mass)
    drift = beta * np.array([[0, 1 / mass], [-1, -gamma / mass]])
    noise = np.diag([0.0, 2 * gamma * beta])
    whole = scipy.linalg.expm(np.block([[-drift, noise], [np.zeros((2, 2)), drift.T]]) * t)
    phi = whole[2:, 2:].T
    return phi, phi @ whole[:2, 2:] + phi @ np.diag([0.0, start * mass]) @ phi.T


@functools.cache
def cld(t):
    """(column [2], cov [2, 2]) of critically damped Langevin, by Van Loan's matrix exponential."""
    phi, cov = _cld(t)
    return phi[:, 0], cov


def propagator_cld(t, s):
    """Phi(t) Phi(s)^-1 [2, 2] of critically damped Langevin."""
    return _cld(t - s)[0]


def channel(name, t):
    """(column [c], cov [c, c]) of a process by its name."""
    if name == "cld":
        return cld(t)
    alpha, sigma = SCHEDULES[name](t)
    return np.array([alpha]), np.array([[sigma**2]])


def posterior(z, column, cov, weights=WEIGHTS, means=MEANS, variances=VARIANCES):
    """(log p(z) [], E[x0 | z] [d], score [c, d]) at z [c, d], x0 of an isotropic mixture."""
    xp = np if isinstance(cov, np.ndarray) else jnp
    logs, data, scores = [], [], []
    for weight, mean, variance in zip(weights, means, variances, strict=True):
        joint = variance * xp.outer(column, column) + cov
        away = z - xp.outer(column, mean)
        pull = xp.linalg.inv(joint) @ away
        log_det = mean.size * xp.linalg.slogdet(2 * np.pi * joint)[1]
        logs.append(np.log(weight) - (jnp.sum(away * pull) + log_det) / 2)
        data.append(mean + variance * column @ pull)
        scores.append(-pull)
    shares = jax.nn.softmax(jnp.stack(logs))
    mix = lambda parts: jnp.tensordot(shares, jnp.stack(parts), 1)
    return jax.nn.logsumexp(jnp.stack(logs)), mix(data), mix(scores)


def draw(n, seed=0, weights=WEIGHTS, means=MEANS, variances=VARIANCES):
    """n draws [n, d] from the mixture."""
    random = np.random.default_rng(seed)
    k = random.choice(len(weights), n, p=weights)
    return means[k] + np.sqrt(variances[k])[:, None] * random.standard_normal((n, means.shape[1]))


def log_density(x, weights, means, variances):
    """log p(x) [n] of the mixture at x [n, d], in NumPy."""
    square = ((x[:, None] - means) ** 2).sum(-1) / variances
    logs = np.log(weights) - (square + means.shape[1] * np.log(2 * np.pi * variances)) / 2
    top = logs.max(1)
    return top + np.log(np.exp(logs - top[:, None]).sum(1))


def within(estimate, truth, error, label=""):
    """Asserts that estimates [...] lie within five standard errors [...] of the truth."""
    distance = np.abs(np.asarray(estimate) - truth) / np.asarray(error)
    assert np.all(distance < 5), f"{label}: {estimate} against {truth}, {distance} standard errors"


def mean_and_error(values):
    """The mean over the leading axis, and its standard error."""
    values = np.asarray(values, np.float64)
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
