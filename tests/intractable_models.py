"""Models known up to a normaliser that sums can find, and how a sampler is held against them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import points

WINDOW = points.box([0.0, 0.0], [2.0, 1.5])
AREA, OBSERVED, CAPACITY, WIDE = 3.0, 5, 24, 9.0
SHAPE, RATE = 3.0, 1.0  # of the prior of beta
DATA = points.pattern(np.random.RandomState(0).rand(OBSERVED, 2), CAPACITY)  # noqa: NPY002


class Problem(NamedTuple):
    """A posterior by sums, and what a sampler is told about it."""

    logprior: object
    loglikelihood: object
    y: object
    simulate: object
    log_z: object
    scale: object
    start: object
    mean: object
    variance: object


def moments(grid, logdensity):
    """Mean and variance [p] on a grid [..., p] of equal cells."""
    weights = np.exp(logdensity - logdensity.max())
    weights = (weights / weights.sum()).reshape(-1, 1)
    flat = grid.reshape(len(weights), -1)
    mean = np.sum(weights * flat, 0)
    return mean, np.sum(weights * (flat - mean) ** 2, 0)


def log_gamma_prior(beta):
    inside = beta > 0
    return jnp.where(
        inside, (SHAPE - 1) * jnp.log(jnp.where(inside, beta, 1)) - RATE * beta, -np.inf
    )


def strauss_problem():
    """theta = (beta, gamma), gamma uniform on [0, 1]; all points interact."""

    def logprior(theta):
        inside = (theta[1] >= 0) & (theta[1] <= 1)
        return jnp.where(inside, log_gamma_prior(theta[0]), -jnp.inf)

    def simulate(key, theta):
        key_count, key_points = jax.random.split(key)
        log_probs, _ = points.strauss_everywhere(*theta, WINDOW, capacity=CAPACITY)
        n = jax.random.categorical(key_count, log_probs)
        x = jax.random.uniform(key_points, (CAPACITY, 2), theta.dtype) * jnp.asarray([[2.0, 1.5]])
        return points.Pattern(x, jnp.arange(CAPACITY) < n)

    def log_z(theta):
        return points.strauss_everywhere(*theta, WINDOW, capacity=CAPACITY)[1]

    beta, gamma = np.meshgrid(*((np.arange(160) + 0.5) / 160 * top for top in (16, 1)))
    n = np.arange(60)
    factorial = np.cumsum(np.log(np.maximum(n, 1)))
    terms = n * np.log(AREA * beta[..., None]) + n * (n - 1) / 2 * np.log(gamma[..., None])
    z = np.exp(terms - factorial).sum(-1)
    pairs = OBSERVED * (OBSERVED - 1) / 2
    law = (SHAPE - 1 + OBSERVED) * np.log(beta) - RATE * beta + pairs * np.log(gamma) - np.log(z)
    return Problem(
        logprior,
        lambda y, theta: points.strauss(*theta, WIDE).logdensity(y),
        DATA,
        simulate,
        log_z,
        jnp.asarray([1.5, 0.25]),
        jnp.asarray([3.0, 0.6]),
        *moments(np.stack([beta, gamma], -1), law),
    )


def poisson_problem():
    """gamma = 1: the posterior of beta is Gamma(shape + n, rate + area)."""
    shape, rate = SHAPE + OBSERVED, RATE + AREA
    return Problem(
        lambda theta: log_gamma_prior(theta[0]),
        lambda y, theta: points.strauss(theta[0], 1.0, WIDE).logdensity(y),
        DATA,
        lambda key, theta: points.poisson(theta[0], WINDOW, capacity=CAPACITY).sample(key),
        lambda theta: theta[0] * AREA,
        jnp.asarray([1.2]),
        jnp.asarray([2.0]),
        np.asarray([shape / rate]),
        np.asarray([shape / rate**2]),
    )


def run(built, start, chains, steps, seed=0, burn=40):
    """Positions [chains, steps - burn, p] of chains with starts spread a little."""

    def chain(i):
        key = jax.random.fold_in(jax.random.key(seed), i)
        state = built.init(start * (0.8 + 0.4 * i / chains), jax.random.fold_in(key, steps))

        def body(state, i):
            state, info = built.step(jax.random.fold_in(key, i), state)
            return state, (state.position, info.is_divergent, info.acceptance_rate)

        return jax.lax.scan(body, state, jnp.arange(steps))[1]

    x, divergent, rate = jax.jit(jax.vmap(chain))(jnp.arange(chains, dtype=start.dtype).astype(int))
    assert not np.any(divergent)
    assert 0.05 < np.mean(rate) < 0.9
    return np.asarray(x)[:, burn:]


def agrees(x, mean, variance, most=3):
    """Mean and variance of chains [c, n, p] within some Monte Carlo standard errors."""
    for samples, truth in ((x, mean), ((x - mean) ** 2, variance)):
        each = samples.mean(1)
        error = each.std(0, ddof=1) / np.sqrt(len(each))
        assert np.all(np.abs(each.mean(0) - truth) < most * error), (each.mean(0), truth, error)
