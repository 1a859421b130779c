"""Approximate Bayesian computation against sums and closed forms; learned summaries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from intractable_models import AREA, OBSERVED, RATE, SHAPE, agrees, moments, poisson_problem, run

from jaxgen import kernels, math, points
from jaxgen.mcmc import intractable
from jaxgen.metrics import weighted


def abc_truth(tolerance):
    """Moments of the posterior of beta given a count within a tolerance of the observed one."""
    beta = np.linspace(0.005, 20, 4000)[:, None]
    n = np.arange(60)
    near = np.abs(n - OBSERVED) <= tolerance
    log_factorial = np.cumsum(np.log(np.maximum(n, 1)))
    hit = np.sum(np.exp(n * np.log(AREA * beta) - AREA * beta - log_factorial) * near, 1)
    law = (SHAPE - 1) * np.log(beta[:, 0]) - RATE * beta[:, 0] + np.log(hit)
    return moments(beta, law)


def apart(y):
    return jnp.abs(points.count(y) - OBSERVED).astype(float)


def test_abc_chain_tends_to_the_posterior_as_the_tolerance_falls():
    problem = poisson_problem()
    truths = {}
    for tolerance in (5.5, 0.5):
        built = intractable.abc_mcmc(
            problem.logprior,
            problem.simulate,
            apart,
            intractable.random_walk(problem.scale),
            tolerance=tolerance,
        )
        truths[tolerance] = abc_truth(tolerance)
        agrees(run(built, problem.start, 100, 300, burn=100), *truths[tolerance])
    np.testing.assert_allclose(truths[0.5], (problem.mean, problem.variance), rtol=1e-4)
    assert np.abs(truths[5.5][0] - problem.mean) > 0.2 * np.sqrt(problem.variance)


@pytest.mark.slow
def test_abc_rejection_keeps_the_closest():
    problem = poisson_problem()
    prior = lambda key: jax.random.gamma(key, SHAPE, (1,)) / RATE
    kept = jax.jit(
        lambda key: intractable.abc_rejection(
            key, prior, problem.simulate, apart, simulations=6000, keep=200
        )
    )(jax.random.key(2))
    assert kept.tolerance == 0  # one simulation in 16 has exactly the observed count
    agrees(np.asarray(kept.theta)[:, None], problem.mean, problem.variance)
    loose = intractable.abc_rejection(
        jax.random.key(2), prior, problem.simulate, apart, simulations=300, keep=300
    )
    assert np.all(np.diff(loose.distance) >= 0)
    assert loose.tolerance == loose.distance[-1] > 3


def test_gaussian_kernel_is_a_model_with_noise():
    """theta ~ N(0, 1), y = theta + N(0, 1), kernel of width 1: N(y / 3, 2 / 3)."""
    built = intractable.abc_mcmc(
        lambda theta: -jnp.sum(theta**2) / 2,
        lambda key, theta: theta + jax.random.normal(key, theta.shape, theta.dtype),
        lambda y: jnp.abs(y[0] - 1.5),
        intractable.random_walk(1.5),
        tolerance=1.0,
        kernel="gaussian",
    )
    agrees(run(built, jnp.asarray([0.5]), 100, 200), np.asarray([0.5]), np.asarray([2 / 3]))


def test_learned_summaries_are_posterior_means():
    rng = np.random.RandomState(5)  # noqa: NPY002
    mix, n = rng.randn(3, 2), 20000
    thetas = rng.randn(n, 2)
    shift = np.asarray([3.0, -2.0, 1.0])
    ys = shift + thetas @ mix.T + 0.5 * rng.randn(n, 3)
    summary = jax.jit(intractable.posterior_means)(thetas, ys)
    exact = np.linalg.solve(mix.T @ mix + 0.25 * np.eye(2), mix.T)
    probe = shift + rng.randn(50, 3)
    found = jax.jit(jax.vmap(summary))(probe)
    np.testing.assert_allclose(found, (probe - shift) @ exact.T, atol=0.03)
    degenerate = np.column_stack([ys, ys[:, 0], np.ones(n)])  # twice the same, and a constant
    summary = intractable.posterior_means(thetas, degenerate)
    same = jax.vmap(summary)(np.column_stack([probe, probe[:, 0], np.ones(50)]))
    np.testing.assert_allclose(same, found, atol=1e-4)


@pytest.mark.slow
def test_least_discrepancy_finds_a_simulator():
    """theta minimises the MMD between data and 20 weighted simulations a + exp(b) u + u^2 / 5."""
    simulate = lambda theta, u: theta[0] + jnp.exp(theta[1]) * u + u**2 / 5
    truth = np.asarray([1.0, -0.5])
    xs = simulate(truth, jax.random.normal(jax.random.key(8), (400, 1)))
    us = jax.scipy.stats.norm.ppf(jnp.asarray(math.quasi_uniform(jax.random.key(9), 20, 1)))
    weights = weighted.weights(weighted.rbf(1.5, base="normal"), us).weights
    loss = lambda theta: weighted.mmd2(xs, simulate(theta, us), weights, kernels.rbf(1.0))

    def fit(theta):
        down = lambda theta, _: (theta - 0.5 * jax.grad(loss)(theta), None)
        return jax.lax.scan(down, theta, None, length=300)[0]

    found = jax.jit(fit)(jnp.asarray([0.0, 0.0]))
    # standard errors of maximum likelihood for a normal law, 0.61 / 20 and 1 / sqrt(800), half more
    assert np.all(np.abs(found - truth) < 5 * 1.5 * np.asarray([0.03, 0.035]))
    assert np.linalg.norm(jax.grad(loss)(found)) < 1e-4
