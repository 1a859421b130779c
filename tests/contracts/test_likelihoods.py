"""The door likelihoods: f(process, denoiser, ts, ...) -> log_prob(key, x), in nats."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import textbook

from jaxgen import densities, grids, likelihoods, processes
from jaxgen.math import divergence
from jaxgen.solvers import exponential, solve

MIXTURE_A = (problems.WEIGHTS, problems.MEANS, problems.VARIANCES)
KEY = 0


@functools.cache
def ends_a():
    """The 64 end points of problem A at t = 1e-3, and their log-densities in closed form."""
    ends = problems.integrate(problems.field_vp, problems.STARTS, 1.0, 1e-3)
    alpha, sigma = textbook.SCHEDULES["vp"](1e-3)
    weights, means, variances = MIXTURE_A
    return ends, textbook.log_density(ends, weights, alpha * means, alpha**2 * variances + sigma**2)


def problem_a(ts, *, exact_prior=True, **options):
    process, law = processes.scalar.vp(), problems.mixture_a()
    prior = densities.marginal(law, process, process.t_max) if exact_prior else None
    denoiser = densities.denoiser(law, process)
    return likelihoods.flow_ode_terms(process, denoiser, ts, prior=prior, **options)


def power_a(n):
    return grids.power(processes.scalar.vp(), n)


def over_points(terms):
    return jax.jit(jax.vmap(terms, (None, 0)))


def test_the_problem_is_the_one_of_the_tables():
    """Mean log-density -1.737986455573 nats, 1.253692220293 bits a dimension."""
    truth = ends_a()[1]
    assert np.mean(truth) == pytest.approx(problems.MEAN_LOG_PROB, abs=2e-11)
    assert likelihoods.bits_per_dim(np.mean(truth), 2) == pytest.approx(1.253692220293, abs=2e-11)


@pytest.mark.parametrize(
    ("n", "options"),
    [(800, {"order": 6}), (1, {"rtol": 1e-10})],
    ids=["exponential", "adaptive"],
)
def test_equals_the_closed_form(n, options):
    """Pointwise to 1e-8; the exponential method of order 6 holds eps on a grid even in sqrt(t)."""
    ends, truth = ends_a()
    found = over_points(problem_a(power_a(n), **options))(jax.random.key(KEY), ends)
    np.testing.assert_allclose(found.log_prob, truth, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.latent, problems.STARTS, atol=1e-7)
    assert np.mean(found.log_prob) == pytest.approx(problems.MEAN_LOG_PROB, abs=1e-9)
    np.testing.assert_array_equal(found.log_prob, found.prior + found.change - found.auxiliaries)
    assert not np.any(found.probe_error)
    assert not np.any(found.auxiliaries)


def test_a_standard_normal_prior_costs_what_it_must():
    """2.255e-3 nats a point, whatever the steps: N(0, I) is not the law at t_max."""
    ends, truth = ends_a()
    found = over_points(problem_a(power_a(400), exact_prior=False))(jax.random.key(KEY), ends)
    assert np.mean(np.abs(found.log_prob - truth)) == pytest.approx(2.255e-3, rel=0.005)


def test_single_precision():
    """2e-4 pointwise (2.6e-5 measured): order 4 and 400 steps; more of either only add rounding."""
    ends, truth = ends_a()
    x = jnp.asarray(ends, jnp.float32)
    found = over_points(problem_a(power_a(400)))(jax.random.key(KEY), x)
    assert {leaf.dtype for leaf in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found.log_prob, truth, rtol=0, atol=1e-4)
    shapes = jax.eval_shape(problem_a(power_a(1), rtol=1e-5), jax.random.key(KEY), x[0])
    assert {leaf.dtype for leaf in shapes} == {np.dtype(np.float32)}


@pytest.mark.usefixtures("x32")
@pytest.mark.parametrize("options", [{}, pytest.param({"rtol": 1e-5}, marks=pytest.mark.slow)])
def test_without_x64(options):
    ends, truth = ends_a()
    found = over_points(problem_a(power_a(400), **options))(jax.random.key(KEY), ends)
    assert {leaf.dtype for leaf in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found.log_prob, truth, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_adaptive_in_single_precision():
    """float32 data under x64: tables and traces do not widen the state."""
    ends, truth = ends_a()
    x = jnp.asarray(ends, jnp.float32)
    found = over_points(problem_a(power_a(1), rtol=1e-5))(jax.random.key(KEY), x)
    assert found.log_prob.dtype == jnp.float32
    np.testing.assert_allclose(found.log_prob, truth, rtol=0, atol=2e-5)


def test_gradient_is_the_score_and_the_difference_quotient():
    terms = problem_a(power_a(400))
    x, h = ends_a()[0][:3], 1e-5
    log_prob = lambda x: terms(jax.random.key(KEY), x).log_prob
    steps = h * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(log_prob)))(
        (x[:, None] + steps).reshape(-1, 2)
    )
    values, slopes = values.reshape(3, 5), slopes.reshape(3, 5, 2)[:, 0]
    quotients = np.stack([values[:, 1] - values[:, 2], values[:, 3] - values[:, 4]], 1) / (2 * h)
    np.testing.assert_allclose(slopes, quotients, rtol=1e-5, atol=1e-5)
    truth = problems.score_a(x, *textbook.SCHEDULES["vp"](1e-3))
    np.testing.assert_allclose(slopes, truth, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("same_key")
def test_hutchinson_is_unbiased_and_knows_its_error():
    """Over 4000 keys: the mean is the exact divergence's, the spread is what probe_error says."""
    x, keys = ends_a()[0][1], jax.random.split(jax.random.key(5), 4000)
    estimate = jax.jit(jax.vmap(problem_a(power_a(60), probes=4), (0, None)))(keys, x)
    estimate = jax.tree.map(np.asarray, estimate)
    exact = jax.jit(problem_a(power_a(60)))(jax.random.key(KEY), x)
    mean, error = textbook.mean_and_error(estimate.log_prob)
    textbook.within(mean, exact.log_prob, error)
    assert np.var(estimate.log_prob) == pytest.approx(np.mean(estimate.probe_error**2), rel=0.1)
    assert np.std(estimate.log_prob) > 0.01
    np.testing.assert_allclose(estimate.latent, estimate.latent[:1].repeat(4000, 0))  # no probe


@pytest.mark.slow
def test_one_probe_has_no_error():
    run = jax.jit(problem_a(power_a(5), probes=1))
    assert np.isnan(run(jax.random.key(KEY), jnp.zeros(2)).probe_error)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("linear_flow", "ve")]


@pytest.mark.parametrize("name", ["edm", *SLOW])
def test_every_process_gives_the_density_of_normal_data(name):
    """N(m, v I) blurred by the noise of t_min, with the exact law at t_max as prior."""
    process = getattr(processes.scalar, name)()
    mean, variance, x = np.array([0.4, -0.3]), 0.3, np.array([[0.9, 0.1], [-0.2, -0.8]])
    law = densities.gaussian(mean, variance)
    ts = grids.log_snr(process, 300)
    log_prob = likelihoods.flow_ode(
        process,
        densities.denoiser(law, process),
        ts,
        prior=densities.marginal(law, process, process.t_max),
        order=6,
    )
    alpha, sigma = textbook.SCHEDULES[name](ts[-1])
    noised = np.ones(1), alpha * mean[None], np.array([alpha**2 * variance + sigma**2])
    truth = textbook.log_density(x, *noised)
    found = over_points(log_prob)(jax.random.key(KEY), x)
    np.testing.assert_allclose(found, truth, atol=1e-6)


EVERY = ("vp", "subvp", "ve", "edm", "cosine", "linear_flow", "monotone", "cld", "psld", "hold")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exponential", "adaptive"])
@pytest.mark.parametrize("name", EVERY)
def test_mixture_under_every_process(name, method):
    """log_prob + log q(auxiliaries) is the log-density of z at t_min, all blocks, to 1e-6.

    Nearer to the data than 0.02 the density of hold itself has too few digits: its terms are
    gamma |x|^2, e^24 at t = 1e-3.
    """
    process = {
        "monotone": lambda: processes.scalar.monotone(np.array([0.3, -0.2, 1.0])),
        "cld": processes.augmented.cld,
        "psld": processes.augmented.psld,
        "hold": lambda: processes.augmented.hold(t_min=0.02),
    }.get(name, lambda: getattr(processes.scalar, name)())()
    law = densities.gaussian_mixture(*textbook.MIXTURE)
    prior, start = (densities.marginal(law, process, t) for t in (process.t_max, process.t_min))
    tabled = method == "exponential"
    ts = grids.log_snr(process, 800) if tabled else grids.power(process, 1)
    options = {"order": 6} if tabled else {"rtol": 1e-9}
    terms = likelihoods.flow_ode_terms(
        process, densities.denoiser(law, process), ts, prior=prior, **options
    )
    found = over_points(terms)(jax.random.key(KEY), textbook.draw(4, 9))
    truth = jax.vmap(start.logdensity)(found.start)
    np.testing.assert_allclose(found.log_prob + found.auxiliaries, truth, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("vp", {}), ("vp", {"rtol": 1e-4}), ("cld", {})])
def test_hutch_plus_plus_in_the_flow(name, options):
    """Data near a line in 12-D, where Jacobians have rank 1 but at the least noise: unbiased, and
    less variance than Hutchinson's with as many products.
    """
    process = getattr(processes.augmented if name == "cld" else processes.scalar, name)()
    line = np.linspace(-1, 1, 12)[:, None]
    means = [-line[:, 0], line[:, 0]]
    law = densities.low_rank_mixture([0.4, 0.6], means, [0.5 * line] * 2, [1e-4] * 2)
    run = functools.partial(
        likelihoods.flow_ode_terms,
        process,
        densities.denoiser(law, process),
        grids.power(process, 30),
        **options,
    )
    x, keys = jnp.asarray(0.7 * line[:, 0]), jax.random.split(jax.random.key(8), 100)
    found = {}
    with jax.debug_key_reuse(False):
        over_keys = lambda terms: jax.jit(jax.vmap(terms, (0, None)))(keys, x)
        exact = over_keys(run())
        for label, probes, estimator in (
            ("plain", 8, divergence.hutchinson),
            ("sketched", 6, divergence.hutch_plus_plus),
        ):
            terms = over_keys(run(probes=probes, estimator=estimator))
            found[label] = np.asarray(terms.change - exact.change)
            textbook.within(
                *textbook.mean_and_error(found[label])[:1], 0.0, found[label].std() / 10
            )
            spread = np.sqrt(np.mean(terms.probe_error**2))
            assert spread == pytest.approx(found[label].std(), rel=0.7)
    assert found["sketched"].std() < 0.3 * found["plain"].std()


SHORT = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.09, 0.25]))


@pytest.mark.parametrize("bend", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_integrates_to_one(bend):
    """Also for a denoiser that is no posterior mean: the flow is a change of variables."""
    process, law = processes.scalar.vp(), densities.gaussian_mixture(*SHORT)
    exact = densities.denoiser(law, process)
    denoiser = (lambda z, t: 0.9 * exact(z, t) + 0.1 * jnp.sin(z)) if bend else exact
    log_prob = likelihoods.flow_ode(process, denoiser, grids.power(process, 400))
    x = np.linspace(-4, 4, 1601)[:, None]
    density = np.exp(over_points(log_prob)(jax.random.key(KEY), x))
    assert np.trapezoid(density, x[:, 0]) == pytest.approx(1, abs=1e-5)
    alpha, sigma = textbook.SCHEDULES["vp"](1e-3)
    weights, means, variances = SHORT
    truth = np.exp(textbook.log_density(x, weights, alpha * means, alpha**2 * variances + sigma**2))
    assert (np.max(np.abs(density - truth)) > 0.05) == bend


@pytest.mark.parametrize(
    ("draws", "options", "atol"),
    [(1000, {}, 2e-3), pytest.param(8, {"rtol": 1e-9}, 1e-6, marks=pytest.mark.slow)],
)
def test_velocities_are_drawn_and_their_joint_density_is_exact(draws, options, atol):
    """E log_prob <= log p(x), by less than 2e-3 nats; prior + change is log p(x, v)."""
    process, law = processes.augmented.cld(), densities.gaussian_mixture(*textbook.MIXTURE)
    ts, denoiser = grids.power(process, 200), densities.denoiser(law, process)
    prior = densities.marginal(law, process, process.t_max)
    terms = likelihoods.flow_ode_terms(process, denoiser, ts, prior=prior, **options)
    solver = exponential.adams_bashforth(process, denoiser, order=4, hold="eps", start="exact")
    back_along = grids.power(process, 1600 if options else 400)

    def one(key, x):
        found = terms(key, x)
        return found, solve(jax.random.key(KEY), solver, found.latent, back_along)[0]

    x, keys = textbook.draw(4, 7), jax.random.split(jax.random.key(6), draws)
    with jax.debug_key_reuse(False):
        found, z = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))(keys, x)
    column, cov = textbook.cld(1e-3)
    np.testing.assert_allclose(z[:, :8, 0], np.repeat(x[:, None], 8, 1), atol=atol / 20)
    assert np.all(np.ptp(z[:, :, 1], 1) > 0.01)
    joint = lambda z: textbook.posterior(z, column, cov, *textbook.MIXTURE)[0]
    truth = jax.jit(jax.vmap(jax.vmap(joint)))(z)
    np.testing.assert_allclose(found.log_prob + found.auxiliaries, truth, atol=atol)
    weights, means, variances = textbook.MIXTURE
    noised = weights, column[0] * means, column[0] ** 2 * variances + cov[0, 0]
    for i, log_p in enumerate(textbook.log_density(x, *noised)):
        mean, error = textbook.mean_and_error(found.log_prob[i])
        assert log_p - 5 * error - 2e-3 < mean < log_p + 5 * error
        assert np.std(found.log_prob[i]) < 0.05  # the velocity is nearly independent of the data


@pytest.mark.usefixtures("same_key")
def test_eager_jit_vmap_pmap_and_a_loop_agree():
    log_prob = likelihoods.flow_ode(
        processes.scalar.vp(), lambda z, t: jnp.tanh(z) * (1 - t), power_a(6), probes=2
    )
    keys, x = jax.random.split(jax.random.key(0), 4), ends_a()[0][:4]
    mapped, spread = jax.jit(jax.vmap(log_prob))(keys, x), jax.pmap(log_prob)(keys, x)
    np.testing.assert_allclose(jax.jit(log_prob)(keys[1], x[1]), mapped[1], rtol=1e-9)
    np.testing.assert_allclose(spread, mapped, rtol=1e-9)
    np.testing.assert_allclose(log_prob(keys[0], x[0]), mapped[0], rtol=1e-9)


def test_one_trace_and_the_gradient_of_a_process_number():
    traces, x = [], jnp.asarray([0.3, -0.8])

    def log_prob(beta_max):
        process = processes.scalar.vp(0.1, beta_max)
        terms = likelihoods.flow_ode(process, lambda z, t: jnp.tanh(2 * z), power_a(8), order=2)
        return terms(jax.random.key(KEY), x)

    @jax.jit
    def both(beta_max):
        traces.append(None)
        return jax.value_and_grad(log_prob)(beta_max)

    h = 1e-4
    (low, _), (_, slope), (high, _) = both(20.0 - h), both(20.0), both(20.0 + h)
    assert len(traces) == 1
    np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("ts", "options", "message"),
    [
        (np.array([1e-3, 1.0]), {}, "ts must fall from noise to data"),
        (np.array([1.0]), {}, "ts must have shape"),
        (np.array([2.0, 1e-3]), {}, "ts must lie in"),
        (np.array([1.0, 1e-4]), {"rtol": 1e-5}, "ts must lie in"),
        (np.array([1.0, 1e-3]), {"probes": 0}, "probes must be None or at least 1"),
        (
            np.array([1.0, 1e-3]),
            {"probes": 2, "estimator": divergence.hutch_plus_plus},
            "at least three probes are needed",
        ),
        (np.array([1.0, 1e-3]), {"order": 9}, "order must be"),
        (np.array([1.0, 1e-3]), {"hold": "v"}, "hold must be"),
        (np.array([1.0, 1e-3]), {"rtol": 0.0}, "tolerances must be positive"),
    ],
)
def test_refuses_when_it_is_built(ts, options, message):
    with pytest.raises(ValueError, match=rf": {message}.*; got"):
        likelihoods.flow_ode(processes.scalar.vp(), lambda z, t: z, ts, **options)
