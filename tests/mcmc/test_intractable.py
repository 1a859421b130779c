"""Intractable posteriors against sums: Strauss' process seen whole, Poisson counts, 3 x 3 Ising."""

import ising
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from intractable_models import (
    DATA,
    WIDE,
    WINDOW,
    Problem,
    agrees,
    moments,
    poisson_problem,
    run,
    strauss_problem,
)

from jaxgen import mcmc, points
from jaxgen.mcmc import intractable

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


def coins_problem():
    """The field on 6 spins that do not see each other, prior N(0.3, 1): cheap to draw."""
    y = jnp.asarray([1, 1, -1, 1, 1, 1])

    def simulate(key, theta):
        heads = jax.random.bernoulli(key, jax.nn.sigmoid(2 * theta[0]), y.shape)
        return 2 * heads.astype(int) - 1

    grid = np.linspace(-6, 6, 2401)[:, None]
    law = -0.5 * (grid - 0.3) ** 2 + 4 * grid - 6 * np.log(2 * np.cosh(grid))
    return Problem(
        lambda theta: -0.5 * (theta[0] - 0.3) ** 2,
        lambda y, theta: theta[0] * jnp.sum(y),
        y,
        simulate,
        lambda theta: 6 * jnp.log(2 * jnp.cosh(theta[0])),
        jnp.asarray([0.9]),
        jnp.asarray([0.8]),
        *moments(grid, law[:, 0]),
    )


PROBLEMS = {
    "strauss": strauss_problem,
    "poisson": poisson_problem,
    "ising": ising_problem,
    "coins": coins_problem,
}


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


CASES = {
    "exchange, strauss": ("strauss", "exchange", lambda p: {}),
    "exchange, poisson": ("poisson", "exchange", lambda p: {}),
    "exchange, coins": ("coins", "exchange", lambda p: {}),
    "exchange, ising": ("ising", "exchange", lambda p: {}),
    "noisy, strauss": ("strauss", "noisy_metropolis", lambda p: {"simulations": 40}),
    "noisy, poisson": ("poisson", "noisy_metropolis", lambda p: {"simulations": 40}),
    "noisy, coins": ("coins", "noisy_metropolis", lambda p: {"simulations": 60}),
    # A sweep over spins that do not see each other is an exact draw.
    "double, coins": ("coins", "double_metropolis", lambda p: {"tail": (spins_of(p),), "steps": 1}),
    "double, ising": (
        "ising",
        "double_metropolis",
        lambda p: {"tail": (spins_of(p),), "steps": 12},
    ),
}


FAST = ("exchange, coins", "noisy, coins", "double, coins")


@pytest.mark.parametrize(
    "case", [c if c in FAST else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
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


def lopsided(sd):
    """An asymmetric proposal: half of theta, a shift and noise."""
    return intractable.Proposal(
        lambda key, theta: 0.5 * theta + 0.8 + sd * jax.random.normal(key, theta.shape),
        lambda new, old: -jnp.sum((new - 0.5 * old - 0.8) ** 2 / (2 * sd**2)),
    )


def test_an_asymmetric_proposal_is_corrected():
    problem = coins_problem()
    built = algorithm("exchange", problem, proposal=lopsided(0.7))
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
