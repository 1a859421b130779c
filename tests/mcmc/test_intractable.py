"""Intractable posteriors against sums: Strauss' process seen whole, Poisson counts, 3 x 3 Ising."""

from typing import NamedTuple

import ising
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels, math, mcmc, points
from jaxgen.mcmc import intractable
from jaxgen.metrics import weighted

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


STATES = ising.all_states(3)
BONDS = ising.bonds(STATES.astype(int))


def ising_problem():
    """The inverse temperature of 9 spins, prior N(0.2, 0.3^2)."""
    y = jnp.asarray(STATES[np.flatnonzero(BONDS == 6)[3]], int)

    def simulate(key, theta):
        return jnp.asarray(STATES, int)[jax.random.categorical(key, theta[0] * jnp.asarray(BONDS))]

    grid = np.linspace(-1.5, 2.0, 1401)[:, None]
    law = -0.5 * ((grid - 0.2) / 0.3) ** 2 + grid * 6
    law = law[:, 0] - np.array([ising.exact(beta, 3)[0] for (beta,) in grid])
    return Problem(
        lambda theta: -0.5 * ((theta[0] - 0.2) / 0.3) ** 2,
        lambda y, theta: theta[0] * ising.bonds(y),
        y,
        simulate,
        lambda theta: jax.scipy.special.logsumexp(theta[0] * jnp.asarray(BONDS)),
        jnp.asarray([0.3]),
        jnp.asarray([0.2]),
        *moments(grid, law),
    )


PROBLEMS = {"strauss": strauss_problem, "poisson": poisson_problem, "ising": ising_problem}


def spins_of(problem):
    values = np.asarray([-1, 1])
    return lambda theta: mcmc.block_gibbs(lambda s: problem.loglikelihood(s, theta), values)


def births_of(problem):
    return lambda theta: points.birth_death(points.strauss(*theta, WIDE), WINDOW)


def algorithm(name, problem, **kwargs):
    head = (
        problem.logprior,
        problem.loglikelihood,
        problem.y,
        kwargs.pop("proposal", intractable.random_walk(problem.scale)),
    )
    return getattr(intractable, name)(*head, *kwargs.pop("tail", (problem.simulate,)), **kwargs)


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


CASES = {
    "exchange, strauss": ("strauss", "exchange", lambda p: {}),
    "exchange, poisson": ("poisson", "exchange", lambda p: {}),
    "exchange, ising": ("ising", "exchange", lambda p: {}),
    "noisy, strauss": ("strauss", "noisy_metropolis", lambda p: {"simulations": 40}),
    "noisy, poisson": ("poisson", "noisy_metropolis", lambda p: {"simulations": 40}),
    "double, ising": (
        "ising",
        "double_metropolis",
        lambda p: {"tail": (spins_of(p),), "steps": 12},
    ),
}


HEAVY = ("noisy, strauss", "double, ising")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in HEAVY else c for c in CASES]
)
def test_posterior_is_that_of_the_known_normaliser(case):
    name, method, options = CASES[case]
    problem = PROBLEMS[name]()
    built = algorithm(method, problem, **options(problem))
    size = (100, 240) if method == "exchange" else (50, 140)
    agrees(run(built, problem.start, *size), problem.mean, problem.variance)


@pytest.mark.slow
def test_double_metropolis_on_patterns():
    problem = strauss_problem()
    built = algorithm("double_metropolis", problem, tail=(births_of(problem),), steps=150)
    agrees(run(built, problem.start, 60, 300), problem.mean, problem.variance)


def lognormal(sd):
    """An asymmetric proposal: theta times exp(normal)."""
    return intractable.Proposal(
        lambda key, theta: theta * jnp.exp(sd * jax.random.normal(key, theta.shape, theta.dtype)),
        lambda new, old: -jnp.sum(jnp.log(new) + (jnp.log(new) - jnp.log(old)) ** 2 / (2 * sd**2)),
    )


def test_an_asymmetric_proposal_is_corrected():
    problem = poisson_problem()
    built = algorithm("exchange", problem, proposal=lognormal(0.6))
    agrees(run(built, problem.start, 100, 240), problem.mean, problem.variance)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_noisy_metropolis_tends_to_the_ideal_chain():
    """The error of its acceptance falls as one over the root of the number of simulations."""
    problem = strauss_problem()
    keys = jax.random.split(jax.random.key(4), 300)

    def rates(count):
        walk = intractable.random_walk(problem.scale / 3)  # no weight is extreme
        built = algorithm("noisy_metropolis", problem, simulations=count, proposal=walk)
        step = lambda key: built.step(key, built.init(problem.start))[1]
        return jax.jit(jax.vmap(step))(keys)

    found = {count: rates(count) for count in (4, 16, 64)}

    def ideal(theta):
        old = problem.start
        target = lambda t: problem.logprior(t) + problem.loglikelihood(DATA, t) - problem.log_z(t)
        ratio = jnp.where(
            problem.logprior(theta) == -jnp.inf, -jnp.inf, target(theta) - target(old)
        )
        return jnp.exp(jnp.minimum(ratio, 0))

    truth = np.asarray(jax.jit(jax.vmap(ideal))(found[4].proposal))
    errors = [np.mean(np.abs(np.asarray(info.acceptance_rate) - truth)) for info in found.values()]
    slope = np.log(errors[2] / errors[0]) / np.log(16)
    assert -0.65 < slope < -0.35, (errors, slope)


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


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize(
    "method", ["exchange", "noisy_metropolis", "double_metropolis", "abc_mcmc"]
)
def test_trees_float32_one_trace_and_nan(method):
    """Counts y ~ Poisson(a b) with theta a dict; the prior is NaN beyond a = 2: counted."""

    def logprior(theta):
        low = (theta["a"] > 0) & (theta["b"] > 0)
        value = -theta["a"] - theta["b"]
        return jnp.where(theta["a"] > 2, jnp.nan, jnp.where(low, value, -jnp.inf))

    def loglikelihood(y, theta):
        return y * jnp.log(theta["a"] * theta["b"])

    def simulate(key, theta):
        mean = theta["a"] * theta["b"]
        return jax.random.poisson(key, jnp.maximum(mean, 0.01)).astype(mean.dtype)

    def inner(theta):
        algorithm = mcmc.block_gibbs(lambda s: loglikelihood(s[0], theta), np.arange(4.0))
        first = lambda y, key: algorithm.init(jnp.full((1,), y))
        return algorithm._replace(init=first)

    walk = intractable.random_walk({"a": 0.9, "b": 0.5})
    head = (logprior, loglikelihood, jnp.float32(2), walk)
    built = {
        "exchange": lambda: intractable.exchange(*head, simulate),
        "noisy_metropolis": lambda: intractable.noisy_metropolis(*head, simulate, simulations=3),
        "double_metropolis": lambda: intractable.double_metropolis(
            logprior, lambda s, theta: loglikelihood(jnp.sum(s), theta), *head[2:], inner, steps=2
        ),
        "abc_mcmc": lambda: intractable.abc_mcmc(
            logprior, simulate, lambda y: jnp.abs(y - 2), walk, tolerance=1.0
        ),
    }[method]()
    traces = []

    def chain(key, theta):
        traces.append(1)
        key_init, key_run = jax.random.split(key)
        state = built.init(theta, key_init)

        def body(state, i):
            state, info = built.step(jax.random.fold_in(key_run, i), state)
            return state, (state.position, info)

        return jax.lax.scan(body, state, jnp.arange(60))[1]

    theta = {"a": jnp.float32(1.0), "b": jnp.float32(1.0)}
    both = jax.jit(chain)
    x, info = both(jax.random.key(0), theta)
    both(jax.random.key(1), {"a": jnp.float32(0.5), "b": jnp.float32(2.0)})
    assert len(traces) == 1
    assert {leaf.dtype for leaf in jax.tree.leaves(x)} == {jnp.dtype("float32")}
    assert np.all((np.asarray(x["a"]) > 0) & (np.asarray(x["a"]) <= 2))
    assert np.any(info.is_divergent)
    assert len(np.unique(x["a"])) > 5
    assert not np.any(np.asarray(info.is_accepted) & np.asarray(info.is_divergent))


WALK = intractable.random_walk(0.5)
ONE = jnp.ones(1)


def poor(method, proposal=WALK, value=0.0):
    f = lambda *args: value + 0 * jnp.sum(args[-1])
    if method == "abc_mcmc":
        return intractable.abc_mcmc(f, lambda k, t: t, jnp.sum, proposal, tolerance=1.0)
    extra = {"noisy_metropolis": {"simulations": 2}, "double_metropolis": {"steps": 2}}
    return getattr(intractable, method)(
        f, f, ONE, proposal, lambda k, t: t, **extra.get(method, {})
    )


@pytest.mark.parametrize(
    "method", ["exchange", "noisy_metropolis", "double_metropolis", "abc_mcmc"]
)
def test_bad_starts_and_proposals_are_refused(method):
    where = f"mcmc.intractable.{method}: "
    for proposal in (lambda key, theta: theta, WALK._replace(logdensity=None)):
        with pytest.raises(ValueError, match=where + "the proposal must have"):
            poor(method, proposal)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=where + "the log-density must not be NaN or"):
            poor(method, value=value).init(ONE, jax.random.key(0))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: intractable.random_walk(0.0), "scale must be positive"),
        (
            lambda: intractable.noisy_metropolis(sum, sum, ONE, WALK, sum, simulations=0),
            "simulations must be at least 1; got 0",
        ),
        (
            lambda: intractable.double_metropolis(sum, sum, ONE, WALK, sum, steps=0),
            "steps must be at least 1; got 0",
        ),
        (lambda: intractable.abc_mcmc(sum, sum, sum, WALK, tolerance=0.0), "tolerance must be"),
        (
            lambda: intractable.abc_mcmc(sum, sum, sum, WALK, tolerance=1.0, kernel="box"),
            "kernel must be 'uniform' or 'gaussian'; got 'box'",
        ),
        (lambda: poor("abc_mcmc").init(ONE), "init must have an rng_key"),
        (
            lambda: intractable.abc_rejection(
                jax.random.key(0), sum, sum, sum, simulations=3, keep=4
            ),
            "keep must lie in",
        ),
        (lambda: intractable.posterior_means(np.ones((3, 1)), np.ones((2, 1))), "must have one n"),
        (lambda: intractable.posterior_means(np.ones((1, 1)), np.ones((1, 1))), "at least 2"),
        (
            lambda: intractable.posterior_means(np.ones((3, 1)), np.full((3, 1), np.nan)),
            "must be finite",
        ),
        (
            lambda: intractable.posterior_means(np.ones((3, 1)), np.ones((3, 1)), ridge=0.0),
            "ridge must be",
        ),
    ],
)
def test_bad_input_is_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()
