"""Microcanonical descents against scalings, dense Jacobians and Gaussian limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.flows import microcanonical
from jaxgen.flows.microcanonical import statistics

POWER = statistics.moments((2,))
MIXED = statistics.concatenate(
    statistics.moments((2, 3)), statistics.structure((1, 2)), statistics.leverage((1,))
)
BUILDS = {"plain": microcanonical.plain, "mean_field": microcanonical.mean_field}
COSTLY = [pytest.param("plain", marks=pytest.mark.slow), "mean_field"]


def descended(descent, x, steps, key=None):
    """(state, infos) after the steps."""
    key = jax.random.key(0) if key is None else key
    step = lambda state, i: descent.step(jax.random.fold_in(key, i), state)
    return jax.lax.scan(step, descent.init(x), jnp.arange(steps))


def noise(seed, n, d, dtype=np.float64, sigma=1.0):
    return jnp.asarray(sigma * np.random.default_rng(seed).standard_normal((n, d)), dtype)


def joint_log_det(descent, x):
    """The slow twin: log |det| and least eigenvalue of the Jacobian [n d, n d] of one step."""
    after = lambda x: descent.step(None, microcanonical.State(x, jnp.zeros(len(x))))[0].x
    jacobian = jax.jit(jax.jacfwd(after))(x).reshape(x.size, x.size)
    return np.linalg.slogdet(jacobian)[1], np.linalg.eigvalsh(jacobian)[0]


def test_the_power_statistic_is_reached_and_only_mean_field_keeps_its_spread():
    d, alpha, n = 32, 2.0, 20_000
    x = noise(0, n, d, sigma=0.7)
    nothing = jnp.zeros(n)
    cheap = lambda key, step, x: microcanonical.LogDet(nothing, nothing, 0.0, jnp.array(True))
    run = lambda build: jax.jit(
        lambda x: descended(build(POWER, [alpha], step_size=d / 8, log_det=cheap), x, 60)[0].x
    )(x)
    powers = {name: np.mean(np.asarray(run(build)) ** 2, 1) for name, build in BUILDS.items()}
    assert abs(powers["plain"] - alpha).max() < 1e-12
    assert abs(np.mean(powers["mean_field"]) - alpha) < 1e-12
    assert np.var(powers["plain"]) < 1e-28
    # chi-squared scaled to mean alpha: variance 2 alpha^2 / d, whose estimate has kurtosis's error
    claim = 2 * alpha**2 / d
    error = claim * np.sqrt((2 + 12 / d) / n)
    assert abs(np.var(powers["mean_field"]) - claim) < 5 * error < 0.07 * claim
    assert abs(np.var(powers["mean_field"]) / claim - 1) < 0.05


@pytest.mark.parametrize("name", BUILDS)
def test_entropy_of_the_power_statistic_is_that_of_a_scaling(name):
    n, d, alpha, gamma, steps = 3, 5, 1.7, 0.4, 12
    x = noise(1, n, d)
    descent = BUILDS[name](POWER, [alpha], step_size=gamma)
    state, infos = jax.jit(lambda x: descended(descent, x, steps))(x)
    # Radius R of m = d or n d numbers goes to R (1 - 2 gamma / d (R^2 / m - alpha)); angles stay
    m = d if name == "plain" else n * d

    def radius(r):
        for _ in range(steps):
            r = r * (1 - 2 * gamma / d * (r**2 / m - alpha))
        return r

    starts = np.linalg.norm(np.asarray(x).reshape(-1, m), axis=1)
    ends, slopes = jax.vmap(jax.value_and_grad(radius))(starts)
    claim = np.asarray((m - 1) * np.log(ends / starts) + np.log(slopes))
    found = np.asarray(state.log_det) if name == "plain" else np.sum(state.log_det)
    np.testing.assert_allclose(found, claim if name == "plain" else claim[0], rtol=1e-11)
    np.testing.assert_allclose(infos.entropy_change[-1], np.sum(claim) / (n * d), rtol=1e-11)
    ratios = np.asarray(state.x / x)
    if name == "plain":
        claims = np.broadcast_to((ends / starts)[:, None], x.shape)
    else:
        claims = np.broadcast_to(ends / starts, x.shape)
    np.testing.assert_allclose(ratios, claims, rtol=1e-11)
    assert infos.invertible.all()


@pytest.mark.parametrize("name", BUILDS)
def test_exact_log_determinant_is_that_of_the_dense_jacobian(name):
    x = noise(2, 3, 7)
    descent = BUILDS[name](MIXED, [0.5, 0.3, 0.4, -0.2, -0.3], step_size=0.02)
    state, info = jax.jit(lambda x: descent.step(None, descent.init(x)))(x)
    dense, least = joint_log_det(descent, x)
    np.testing.assert_allclose(np.sum(state.log_det), dense, rtol=1e-11)
    assert info.invertible
    assert least > 0


def test_one_particle_of_the_mean_field_is_plain():
    x = noise(3, 1, 9)
    run = lambda build: jax.jit(
        lambda x: descended(build(MIXED, [2.0, 0.3, 0.9, -0.2, -0.3], step_size=0.4), x, 10)
    )(x)
    for one, other in zip(*(jax.tree.leaves(run(b)) for b in BUILDS.values()), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", BUILDS)
def test_invertible_is_false_exactly_when_an_eigenvalue_crosses_zero(name):
    x = noise(4, 2, 6)

    @jax.jit
    def flag(gamma):
        descent = BUILDS[name](POWER, [1.0], step_size=gamma)
        return descent.step(None, descent.init(x))[1].invertible

    flags, leasts = [], []
    for gamma in (0.2, 0.8, 1.4, 2.0, 2.6, 6.0):
        flags.append(bool(flag(gamma)))
        leasts.append(joint_log_det(BUILDS[name](POWER, [1.0], step_size=gamma), x)[1] > 0)
    assert flags == leasts
    assert any(flags)
    assert not all(flags)


@pytest.mark.parametrize("name", BUILDS)
def test_the_series_is_unbiased_and_its_bound_holds(name):
    x = noise(5, 4, 10)
    target = [1.5, 0.3, 0.7, -0.2, -0.3]
    exact = BUILDS[name](MIXED, target, step_size=0.02)
    claim = np.asarray(jax.jit(lambda x: exact.step(None, exact.init(x)))(x)[0].log_det)

    @functools.partial(jax.jit, static_argnums=1)
    def estimated(key, products):
        rule = microcanonical.series(products=products, probes=1000)
        descent = BUILDS[name](MIXED, target, step_size=0.02, log_det=rule)
        return descent.step(key, descent.init(x))

    state, info = estimated(jax.random.key(1), 8)
    assert bool(info.invertible)
    assert info.truncation < 1e-3 * np.max(info.log_det_error)
    miss = np.sum(state.log_det) - np.sum(claim)
    error = np.sqrt(np.sum(np.asarray(info.log_det_error) ** 2))
    assert abs(miss) < 5 * error * (1 if name == "plain" else 2)  # shares are correlated
    if name == "plain":
        assert (abs(state.log_det - claim) < 5 * np.asarray(info.log_det_error)).all()
    # The same probes, cut early: what is left out is below the reported bound
    short, brief = estimated(jax.random.key(1), 2)
    cut = abs(np.sum(short.log_det - state.log_det)) / len(x)
    assert 0 < cut < brief.truncation


def test_a_series_that_diverges_says_so():
    x = noise(6, 2, 6)
    rule = microcanonical.series()
    descent = microcanonical.plain(POWER, [1.0], step_size=40.0, log_det=rule)
    info = jax.jit(lambda key: descent.step(key, descent.init(x))[1])(jax.random.key(0))
    assert not info.invertible
    assert np.isinf(info.truncation)


def spectrum_after(lags, target, d, gamma, steps):
    """Eigenvalues [d] of the linear map that the mean field with periodic lags is as n grows."""
    waves = np.cos(2 * np.pi * np.outer(np.arange(d), lags) / d)
    gains = np.ones(d)
    for _ in range(steps):
        residual = np.mean(gains[:, None] ** 2 * waves, 0) - target
        gains = gains * (1 - gamma * 2 / d * waves @ residual)
    return gains


def test_mean_field_from_white_noise_is_a_gaussian_process_as_particles_grow():
    d, lags, gamma, steps = 8, (0, 1, 2), 0.4, 40
    target = 1.3 * 0.6 ** np.array(lags)
    descent = microcanonical.mean_field(
        statistics.autocovariances(lags, periodic=True), target, step_size=gamma
    )
    run = jax.jit(lambda x: descended(descent, x, steps))
    # Orthogonal particles have the second moments of white noise exactly
    x = jnp.asarray(np.sqrt(d) * np.linalg.qr(noise(7, d, d))[0])
    gains = spectrum_after(lags, target, d, gamma, steps)
    falls = []
    for copies in (1, 2):
        state, infos = run(jnp.concatenate([x] * copies))
        periodogram = np.mean(np.abs(np.fft.fft(np.asarray(state.x))) ** 2, 0) / d
        np.testing.assert_allclose(periodogram, gains**2, rtol=1e-10)
        falls.append(np.sum(np.log(gains)) - np.mean(state.log_det))
        assert infos.mean_error[-1] < 0.1 * infos.mean_error[0]
        assert infos.invertible.all()
    # What coupling costs each of n particles is 1 / n of something
    assert falls[0] > 0.1
    np.testing.assert_allclose(falls[1], falls[0] / 2, rtol=1e-10)


def ar1(a, s, d):
    """logdensity of x [d] of x_t = a x_(t-1) + s eps, stationary."""

    def logdensity(x):
        first = -(x[0] ** 2) * (1 - a**2) / s**2 / 2 + jnp.log(1 - a**2) / 2
        return (
            first
            - jnp.sum((x[1:] - a * x[:-1]) ** 2) / s**2 / 2
            - d / 2 * jnp.log(2 * jnp.pi * s**2)
        )

    return logdensity


def test_reverse_kl_is_zero_at_the_law_itself():
    a, s, d, n = 0.6, 0.9, 8, 4000
    e = np.array(noise(8, n, d))
    x = e.copy()
    x[:, 0] *= s / np.sqrt(1 - a**2)
    for t in range(1, d):
        x[:, t] = a * x[:, t - 1] + s * e[:, t]
    log_det = (d * np.log(s) - np.log(1 - a**2) / 2) * np.ones(n)
    state = microcanonical.State(jnp.asarray(x), jnp.asarray(log_det))
    start = d / 2 * np.log(2 * np.pi * np.e)
    terms = jax.vmap(lambda i: i)(microcanonical.reverse_kl(state, start, ar1(a, s, d)))
    assert abs(np.mean(terms)) < 5 * np.std(terms) / np.sqrt(n)
    wider = microcanonical.reverse_kl(state, start, ar1(a, 2 * s, d))
    claim = np.log(2) - 0.5 + 0.125
    assert abs(np.mean(wider) - claim) < 5 * np.std(wider) / np.sqrt(n)


def test_on_ar1_mean_field_is_closer_than_plain_at_equal_error():
    a, s, d, n, steps = 0.7, 0.8, 24, 64, 120
    lags = (0, 1, 2)
    target = s**2 / (1 - a**2) * a ** np.array(lags)
    x = noise(9, n, d)
    phi = statistics.autocovariances(lags)
    start = d / 2 * np.log(2 * np.pi * np.e)
    logdensity_fn = ar1(a, s, d)

    def run(build):
        descent = build(phi, target, step_size=1.0)

        def step(state, _):
            state, info = descent.step(None, state)
            terms = microcanonical.reverse_kl(state, start, logdensity_fn)
            return state, (info, jnp.mean(terms), jnp.std(terms) / jnp.sqrt(1.0 * n))

        return jax.jit(lambda x: jax.lax.scan(step, descent.init(x), None, length=steps)[1])(x)

    (one, kl_plain, error), (other, kl_mean, _) = run(BUILDS["plain"]), run(BUILDS["mean_field"])
    assert one.invertible.all()
    assert other.invertible.all()
    # At every level of the mean's error that both reach, past the first tenth
    for level in (0.2, 0.1, 0.05):
        i = int(np.argmax(one.mean_error < level * one.mean_error[0]))
        j = int(np.argmax(other.mean_error < level * other.mean_error[0]))
        assert i > 0
        assert j > 0
        assert kl_mean[j] < kl_plain[i] - 5 * error[i]
        assert other.entropy_change[j] > one.entropy_change[i]
    assert kl_mean[-1] < 0.1 < 0.3 < kl_plain[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
def test_gradients_pass_through_the_descent_and_vmap_agrees(name):
    x = noise(10, 2, 5)

    @jax.jit
    def end(target):
        descent = BUILDS[name](MIXED, target, step_size=0.2)
        state, _ = descended(descent, x, 2)
        return jnp.sum(state.log_det) + jnp.sum(state.x**3)

    target = jnp.array([1.5, 0.3, 0.7, -0.2, -0.3])
    slopes = jax.jit(jax.grad(end))(target)
    nudges = 1e-5 * jnp.eye(5)
    ends = jax.jit(jax.vmap(end))(target[None] + jnp.concatenate([nudges, -nudges]))
    np.testing.assert_allclose(slopes, (ends[:5] - ends[5:]) / 2e-5, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ends[0], end(target + nudges[0]), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("x32")
@pytest.mark.parametrize("name", COSTLY)
def test_float32_is_kept_and_close(name):
    x = noise(11, 3, 8, np.float32)
    target = np.array([1.5, 0.3, 0.7, -0.2, -0.3])
    run = lambda x, rule: descended(BUILDS[name](MIXED, target, step_size=0.1, log_det=rule), x, 5)
    state, infos = jax.jit(lambda x: run(x, None))(x)
    rough, more = jax.jit(lambda x: run(x, microcanonical.series()))(x)
    for leaf in jax.tree.leaves((state, infos, rough, more)):
        assert leaf.dtype in (np.float32, bool)
        assert np.isfinite(leaf).all()
    with jax.enable_x64(True):
        claim, _ = jax.jit(lambda x: run(x, None))(noise(11, 3, 8))
    np.testing.assert_allclose(state.x, claim.x, atol=2e-5)
    np.testing.assert_allclose(state.log_det, claim.log_det, atol=1e-4)


def test_degenerate_particles_stay_finite():
    descent = microcanonical.mean_field(POWER, [1.0], step_size=0.5)
    state, info = jax.jit(lambda x: descent.step(None, descent.init(x)))(jnp.zeros((2, 4)))
    assert np.isfinite(state.log_det).all()
    np.testing.assert_array_equal(state.x, 0)  # zero is a saddle: nothing says where to go
    assert bool(info.invertible)


@pytest.mark.parametrize("build", BUILDS.values())
def test_errors_say_where(build):
    good = build(POWER, [1.0], step_size=0.1)
    cases = [
        ("target must have shape", lambda: build(POWER, 1.0, step_size=0.1)),
        ("target must be finite", lambda: build(POWER, [np.nan], step_size=0.1)),
        ("step_size must be positive", lambda: build(POWER, [1.0], step_size=0.0)),
        ("step_size must be positive", lambda: build(POWER, [1.0], step_size=np.nan)),
        ("step_size must be \\[\\]", lambda: build(POWER, [1.0], step_size=np.ones(2))),
        ("x must be \\[n, d\\]", lambda: good.init(jnp.ones(3))),
        ("x must be \\[n, d\\]", lambda: good.init(jnp.ones((3, 2), int))),
        (
            "shape of the statistics",
            lambda: build(MIXED, [1.0], step_size=1.0).init(noise(0, 2, 5)),
        ),
        ("finite at the start", lambda: good.init(jnp.full((2, 3), jnp.nan))),
    ]
    for words, work in cases:
        with pytest.raises(ValueError, match=words):
            work()


def test_series_needs_products_and_probes():
    for options in ({"products": 0}, {"probes": 1}):
        with pytest.raises(ValueError, match=r"microcanonical\.series"):
            microcanonical.series(**options)


def test_trouble_inside_jit_is_a_flag():
    descent = microcanonical.plain(POWER, [1.0], step_size=0.5)
    info = jax.jit(lambda x: descent.step(None, descent.init(x))[1])(jnp.full((2, 3), jnp.nan))
    assert not info.invertible
