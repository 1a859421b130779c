"""ABC's population against posteriors by sums, at a tolerance and as it falls to none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import smc
from jaxgen.mcmc import intractable
from jaxgen.types import Distribution

LOW, HIGH = -2.0, 6.0
UNIFORM = Distribution(
    lambda key: jax.random.uniform(key, (), minval=LOW, maxval=HIGH),
    lambda theta: jnp.where((theta >= LOW) & (theta <= HIGH), -jnp.log(HIGH - LOW), -jnp.inf),
)
EXPONENTIAL = Distribution(
    lambda key: {"a": jax.random.exponential(key, ())},
    lambda theta: jnp.where(theta["a"] > 0, -theta["a"], -jnp.inf),
)


def runs(algorithm, prior, n, repeats, seed=0, **options):
    """States and infos of independent runs, leading axis [repeats], in one compiled call."""

    def once(i):
        key_start, key_run = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
        particles = jax.vmap(prior.sample)(jax.random.split(key_start, n))
        return smc.abc_run(key_run, algorithm, particles, **options)

    return jax.jit(lambda: jax.lax.map(once, jnp.arange(repeats)))()


def agrees(state, theta, mean, variance, most=5):
    """Weighted means and variances [repeats] within some standard errors of the truth."""
    weights = np.asarray(state.weights)
    for values, truth in ((theta, mean), ((theta - mean) ** 2, variance)):
        each = np.sum(weights * np.asarray(values), 1)
        error = each.std(ddof=1) / np.sqrt(len(each))
        assert abs(each.mean() - truth) < most * error, (each.mean(), truth, error)


def moments(grid, law):
    law = law / law.sum()
    mean = np.sum(law * grid)
    return mean, np.sum(law * (grid - mean) ** 2)


def two_widths(key, theta):
    """theta + a half of N(0, 1), a half of N(0, 1 / 100), as Sisson, Fan and Tanaka 2007."""
    key_which, key_noise = jax.random.split(key)
    sd = jnp.where(jax.random.bernoulli(key_which), 1.0, 0.1)
    return theta + sd * jax.random.normal(key_noise, (), theta.dtype)


def two_widths_truth(tolerance, observed):
    """Moments of the law of theta given |y - observed| <= tolerance, on the uniform prior."""
    grid = LOW + (HIGH - LOW) * (np.arange(40000) + 0.5) / 40000
    normal = jax.scipy.stats.norm.cdf
    ends = observed + tolerance - grid, observed - tolerance - grid
    near = [0.5 * normal(end) + 0.5 * normal(end / 0.1) for end in ends]
    return moments(grid, np.asarray(near[0] - near[1]))


# beside the end of the prior, where proposals fall outside; defensive 1 is rejection
@pytest.mark.parametrize(
    ("observed", "defensive"), [(-1.2, 0.1), pytest.param(0.5, 1.0, marks=pytest.mark.slow)]
)
def test_law_at_the_least_tolerance(observed, defensive):
    tolerance = 0.3
    algorithm = smc.abc(
        UNIFORM, two_widths, lambda y: jnp.abs(y - observed), least=tolerance, defensive=defensive
    )
    state, info = runs(algorithm, UNIFORM, 160, 16, least_acceptance=0)
    assert np.all(info.is_finished)
    assert np.all(state.tolerance == tolerance)
    assert not np.any(info.divergences)
    np.testing.assert_allclose(info.simulations, 160 * (1 + np.asarray(info.steps)))
    np.testing.assert_allclose(state.weights.sum(1), 1)
    np.testing.assert_allclose(info.effective_draws, 1 / np.sum(np.asarray(state.weights) ** 2, 1))
    agrees(state, state.particles, *two_widths_truth(tolerance, observed))
    if defensive == 1:
        np.testing.assert_allclose(info.effective_draws, 160)
    else:
        assert np.all(np.exp(state.log_weights) <= 1 / defensive)
        assert 50 < info.effective_draws.mean() < 158


@pytest.mark.parametrize("least", [0.0, pytest.param(3.0, marks=pytest.mark.slow)])
def test_posterior_of_a_count_as_the_tolerance_falls(least):
    """theta ~ Exp(1), y ~ Poisson(2 theta), 4 seen: Gamma(5, 3) when equal counts are asked for."""

    def simulate(key, theta):  # counts above 11 are alike
        waits = jax.random.exponential(key, (11,))
        return jnp.sum(jnp.cumsum(waits) < 2 * theta["a"]).astype(float)

    algorithm = smc.abc(EXPONENTIAL, simulate, lambda y: jnp.abs(y - 4), least=least, fresh=120)
    state, info = runs(algorithm, EXPONENTIAL, 160, 16)
    assert np.all(info.is_finished)
    assert np.all(state.tolerance == least)
    n = np.arange(16)  # theta | y is Gamma(1 + y, 3), y geometric
    marginal = (2 / 3) ** n * (np.abs(n - 4) <= least)
    marginal /= marginal.sum()
    mean = np.sum(marginal * (1 + n) / 3)
    second = np.sum(marginal * (1 + n) * (2 + n) / 9)
    assert (abs(mean - 5 / 3) < 1e-12) == (least == 0)
    agrees(state, state.particles["a"], mean, second - mean**2)


@pytest.mark.slow
def test_steps_at_the_least_tolerance_keep_the_law_and_renew_the_particles():
    tolerance, observed = 0.3, -1.2
    algorithm = smc.abc(UNIFORM, two_widths, lambda y: jnp.abs(y - observed), least=tolerance)

    def further(i):
        key_start, key_run, key_more = jax.random.split(jax.random.fold_in(jax.random.key(5), i), 3)
        particles = jax.vmap(UNIFORM.sample)(jax.random.split(key_start, 150))
        first = smc.abc_run(key_run, algorithm, particles)[0]

        def body(state, i):
            return algorithm.step(jax.random.fold_in(key_more, i), state)

        last, infos = jax.lax.scan(body, first, jnp.arange(12))
        return first, last, infos

    first, last, infos = jax.jit(lambda: jax.lax.map(further, jnp.arange(16)))()
    assert not np.any(np.isin(last.particles, first.particles))
    assert np.all(infos.is_finished)
    agrees(last, last.particles, *two_widths_truth(tolerance, observed))


@pytest.mark.slow
def test_learned_summaries_in_two_dimensions():
    """theta ~ N(0, I), y = A theta + noise in 3 dimensions: a Gaussian posterior."""
    mix = np.asarray([[1.0, 0.4], [-0.6, 0.9], [0.3, 0.8]])
    seen = jnp.asarray([0.8, -1.1, 0.5])
    prior = Distribution(
        lambda key: jax.random.normal(key, (2,)),
        lambda theta: -0.5 * jnp.sum(theta**2) - jnp.log(2 * jnp.pi),
    )

    def simulate(key, theta):
        return jnp.asarray(mix) @ theta + 0.5 * jax.random.normal(key, (3,))

    keys = jax.random.split(jax.random.key(1), 4000)
    thetas = jax.vmap(prior.sample)(keys)
    data = jax.vmap(simulate)(jax.random.split(jax.random.key(2), 4000), thetas)
    summary = intractable.posterior_means(thetas, data)
    algorithm = smc.abc(
        prior, simulate, lambda y: jnp.linalg.norm(summary(y) - summary(seen)), least=0.2
    )
    state, info = runs(algorithm, prior, 400, 16, least_acceptance=0, max_steps=100)
    assert np.all(info.is_finished)
    precision = np.eye(2) + mix.T @ mix / 0.25
    mean = np.linalg.solve(precision, mix.T @ np.asarray(seen) / 0.25)
    cov = np.linalg.inv(precision) + 0.2**2 / 4 * np.eye(2)  # summaries are uniform on a disc
    for i in range(2):
        agrees(state, state.particles[..., i], mean[i], cov[i, i])
    # far fewer than rejection from the prior spends on as many effective draws
    spent = info.simulations.mean() / info.effective_draws.mean()
    hit = np.mean(
        np.linalg.norm(np.asarray(jax.vmap(summary)(data)) - np.asarray(summary(seen)), axis=1)
        < 0.2
    )
    assert spent < 0.6 / hit


def test_steps_are_those_of_the_definition():
    """Ranks, weights and the count of one step, with all proposals from the prior known."""
    tolerance_free = smc.abc(UNIFORM, lambda key, theta: theta, jnp.abs, fresh=3, batch=2)
    start = jnp.asarray([0.5, -1.5, 3.0, 2.0])
    state = tolerance_free.init(start, jax.random.key(0))
    np.testing.assert_allclose(state.distances, [0.5, 1.5, 3, 2])
    np.testing.assert_allclose(state.weights, 0.25)
    assert (state.tolerance, state.simulations, state.count) == (3.0, 4, 0)
    after, info = jax.jit(tolerance_free.step)(jax.random.key(3), state)
    assert (after.simulations, after.count, info.simulations) == (7, 1, 7)
    assert after.tolerance == after.distances.max() < 3
    assert not info.is_finished
    old = np.isin(after.particles, start)
    np.testing.assert_allclose(np.asarray(after.log_weights)[old], 0)
    spread = np.sqrt(2 * np.var(start))
    for theta, value in zip(after.particles[~old], after.log_weights[~old], strict=True):
        near = np.mean(jax.scipy.stats.norm.pdf(theta, start, spread))
        truth = 1 / 8 / (0.1 / 8 + 0.9 * near)
        np.testing.assert_allclose(np.exp(value), truth, rtol=1e-6)
    assert not np.all(old)


def test_particles_are_drawn_by_their_weights():
    """With all weight on one, new particles lie there, but for the share of the prior."""
    algorithm = smc.abc(UNIFORM, lambda key, theta: 0 * theta, jnp.abs, fresh=60)
    state = algorithm.init(jnp.asarray([0.5, -1.5, 3.0, 2.0]), jax.random.key(0))
    state = state._replace(weights=jnp.asarray([0.0, 0.0, 1.0, 0.0]))
    many = jax.tree.map(lambda leaf: jnp.tile(leaf, 15) if leaf.ndim else leaf, state)
    after, _ = jax.jit(algorithm.step)(jax.random.key(4), many._replace(weights=many.weights / 15))
    near = np.abs(np.asarray(after.particles) - 3) < 1e-3
    assert 45 < np.sum(near) < 60
    assert np.all(np.asarray(after.log_weights)[near] < -3)


@pytest.mark.usefixtures("x32")
def test_float32_trees_and_divergences():
    """Distances are NaN beyond 2, where prior mass lies: counted, weighed as nothing."""
    prior = Distribution(
        lambda key: {"a": jax.random.exponential(key, (2,)), "b": jax.random.normal(key, ())},
        lambda t: jnp.where(
            jnp.all(t["a"] > 0), -jnp.sum(t["a"]) - t["b"] ** 2 / 2 - 0.9189385, -jnp.inf
        ),
    )
    with jax.debug_key_reuse(False):
        particles = jax.vmap(prior.sample)(jax.random.split(jax.random.key(0), 60))
    algorithm = smc.abc(
        prior,
        lambda key, t: t["a"][0] + jax.random.normal(key, ()),
        lambda y: jnp.where(y > 2, jnp.nan, jnp.abs(y - 1)),
        least=0.05,
    )
    with jax.debug_key_reuse(False):
        state, info = jax.jit(
            lambda key: smc.abc_run(key, algorithm, particles, least_acceptance=0)
        )(jax.random.key(1))
    assert state.weights.dtype == state.particles["a"].dtype == jnp.float32
    assert info.is_finished
    assert info.divergences > 5
    assert np.all(np.isfinite(state.distances))
    assert np.all(state.particles["a"] > 0)


def test_a_distance_that_is_nan_never_enters():
    found = lambda y: jnp.where((y == 0.25) | (y == 3.0), 1.5, jnp.nan)
    algorithm = smc.abc(UNIFORM, lambda key, theta: theta, found)
    start = jnp.asarray([0.5, 0.25, 2.0, 3.0])
    both = lambda a, b: algorithm.step(b, algorithm.init(start, a))
    after, info = jax.jit(both)(jax.random.key(0), jax.random.key(1))
    assert np.sum(np.isinf(after.distances)) == 2
    assert after.tolerance == np.inf
    np.testing.assert_allclose(after.weights, (np.asarray(after.distances) == 1.5) / 2)
    assert info.effective_draws == 2
    assert 1 <= info.divergences <= 4


def test_particles_all_alike_still_move():
    algorithm = smc.abc(UNIFORM, two_widths, jnp.abs)
    start = jnp.full(20, 0.25)
    both = lambda a, b: algorithm.step(b, algorithm.init(start, a))
    after, info = jax.jit(both)(jax.random.key(0), jax.random.key(1))
    assert np.all(np.isfinite(after.weights))
    assert info.divergences == 0


def bad(**options):
    given = {"prior": UNIFORM, "simulate": two_widths, "distance": jnp.abs} | options
    return smc.abc(given.pop("prior"), given.pop("simulate"), given.pop("distance"), **given)


START = np.linspace(0, 1, 5)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: bad(prior=Distribution(UNIFORM.sample, None)), "prior must have sample"),
        (lambda: bad(least=-0.1), "least must be a finite number of at least 0; got -0.1"),
        (lambda: bad(least=np.nan), "least must be"),
        (lambda: bad(defensive=0.0), r"defensive must lie in \(0, 1\]; got 0.0"),
        (lambda: bad(fresh=0), "fresh must be at least 1; got 0"),
        (lambda: bad(batch=0), "batch must be at least 1"),
        (lambda: bad().init(START), "init must have an rng_key"),
        (lambda: bad().init(START[:1], jax.random.key(0)), "leading axis of n >= 2"),
        (lambda: bad().init(np.arange(3), jax.random.key(0)), "must be floats; got .'int64'"),
        (lambda: bad().init(10 + START, jax.random.key(0)), "support.*got 5 that do not of 5"),
        (
            lambda: bad(distance=lambda y: y * jnp.nan).init(START, jax.random.key(0)),
            "finite distance; got none",
        ),
        (
            lambda: bad(distance=lambda y: jnp.stack([y, y])).init(START, jax.random.key(0)),
            r"distance must return one number \[\]; got shape \(2,\)",
        ),
        (
            lambda: bad(prior=UNIFORM._replace(logdensity=lambda t: jnp.stack([t, t]))).init(
                START, jax.random.key(0)
            ),
            "log-density must be one number",
        ),
        (lambda: smc.abc_run(jax.random.key(0), bad(), START, least_acceptance=1.0), "0 <= least"),
        (lambda: smc.abc_run(jax.random.key(0), bad(), START, max_steps=0), "max_steps >= 1"),
    ],
)
def test_bad_input_is_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()
