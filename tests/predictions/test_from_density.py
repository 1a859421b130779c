"""Denoisers of a log-density alone, against exact ones of Gaussians and mixtures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import densities, predictions, processes
from jaxgen.predictions import from_density

MIXTURE = (np.array([0.2, 0.8]), np.array([[-2.0, 0.5], [1.5, -1.0]]), np.array([0.25, 0.5]))
Z = np.array([0.4, -0.7])


def mixture():
    law = densities.gaussian_mixture(*MIXTURE)
    return law, lambda x: densities.distribution(law).logdensity(x) + 3.7  # unnormalised


def make(name):
    return processes.augmented.cld() if name == "cld" else processes.scalar.vp()


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_exact_guess_of_a_gaussian_is_exact(name):
    mean, variance = np.array([1.5, -0.5]), np.array([0.4, 2.0])
    law = densities.gaussian(mean, variance)
    logdensity_fn = lambda x: densities.distribution(law).logdensity(x) - 11.0
    process = make(name)
    z = Z if name == "vp" else np.stack([Z, [0.3, 0.2]])
    eps = jax.random.normal(jax.random.key(0), (4, 2))
    both = jnp.concatenate([eps, -eps])
    guess = (jnp.asarray(mean), jnp.asarray(variance))
    estimate = from_density.importance(process, logdensity_fn, both, guess=guess)
    exact = densities.denoiser(law, process)
    for t in (0.1, 0.9):
        np.testing.assert_allclose(estimate(z, t), exact(z, t), rtol=1e-9)


def errors(estimator, exact, sizes, repeats):
    """Root mean square errors [len(sizes)] of estimator(key, m) over repeats."""
    found = []
    for m in sizes:
        keys = jax.random.split(jax.random.key(m), repeats)
        values = jax.jit(jax.vmap(functools.partial(estimator, m=m)))(keys)
        found.append(float(jnp.sqrt(jnp.mean((values - exact[None]) ** 2))))
    return np.array(found)


@pytest.mark.parametrize(
    "form",
    [
        *("importance", "stein"),
        *(pytest.param(form, marks=pytest.mark.slow) for form in ("ensemble", "guess", "gradient")),
    ],
)
def test_error_falls_as_one_over_root_m(form):
    """Slope -1/2 in the draws, and no bias beside it."""
    law, logdensity_fn = mixture()
    process, t = processes.scalar.vp(), 0.45
    exact = densities.denoiser(law, process)(Z, t)
    wide = densities.distribution(densities.gaussian(np.zeros(2), np.array([6.0, 2.0])))
    if form in ("stein", "gradient"):
        t = 0.4  # U_t given U_1 = y is N(t y, t (1 - t)): the channel at gain t / sqrt(t (1 - t))
        channel = processes.scalar.linear_flow()
        s = 1 / (1 + np.sqrt(t / (1 - t)))  # (1 - s) / s = that gain
        exact = (densities.denoiser(law, channel)(Z * (1 - s) / t, s) - Z) / (1 - t)

    def estimator(key, m):
        if form == "ensemble":
            points = jax.vmap(wide.sample)(jax.random.split(key, m))
            return from_density.ensemble(process, logdensity_fn, points, wide.logdensity)(Z, t)
        eps = jax.random.normal(key, (m, 2))
        if form in ("stein", "gradient"):
            return from_density.foellmer(logdensity_fn, eps, form=form)(jnp.asarray(Z), t)
        guess = None if form == "importance" else (0.0, jnp.array([6.0, 2.0]))
        return from_density.importance(process, logdensity_fn, eps, guess=guess)(Z, t)

    sizes = (100, 400, 1600)
    found = errors(estimator, exact, sizes, 150)
    slope = np.polyfit(np.log(sizes), np.log(found), 1)[0]
    assert abs(slope + 0.5) < 0.1, (slope, found)
    assert found[-1] < 0.2, found


def test_effective_draws_tell_a_lost_start():
    """A wide flat proposal in 16 dimensions leaves one draw; a guess does not."""
    law = densities.gaussian_mixture([0.2, 0.8], [[-4.0] + 15 * [0.0], [4.0] + 15 * [0.0]], [1, 1])
    logdensity_fn = densities.distribution(law).logdensity
    process, z = processes.scalar.vp(), jax.random.normal(jax.random.key(3), (16,))
    eps = jax.random.normal(jax.random.key(4), (1000, 16))
    lost = from_density.effective_draws(process, logdensity_fn, eps)(z, 0.9)
    variance = jnp.array([11.24, *(15 * [1.0])])
    kept = from_density.effective_draws(process, logdensity_fn, eps, guess=(0.0, variance))(z, 0.9)
    assert lost < 3, (lost, kept)
    assert kept > 200, (lost, kept)


def test_inner_chains_find_the_posterior_mean():
    """A skewed target at a long step: adjusted chains within five standard errors of the mean by
    quadrature; unadjusted ones are off by more, which a wrong acceptance would be too.
    """
    target = lambda x: jnp.sum(0.3 * x - 1.3 * jax.nn.softplus(x))
    process, z, t = processes.scalar.vp(), 0.4, 0.6
    alpha, sigma = process.transition(t)
    grid = np.linspace(-60, 30, 4001)
    logs = 0.3 * grid - 1.3 * np.logaddexp(0, grid) - (z - alpha * grid) ** 2 / (2 * sigma**2)
    exact = np.average(grid, weights=np.exp(logs - logs.max()))

    def one(key, adjusted):
        draws = from_density.inner_draws(key, (1,), starts=30, chains=8, steps=60)
        options = {"smoothness": 0.33, "rate": 1.2, "guess": (-2.0, 12.0)}
        return from_density.langevin(process, target, draws, adjusted=adjusted, **options)(
            jnp.array([z]), t
        )[0]

    found = {}
    for adjusted in (True, False):
        run = jax.jit(jax.vmap(functools.partial(one, adjusted=adjusted)))
        values = run(jax.random.split(jax.random.key(1), 600))
        found[adjusted] = float((values.mean() - exact) / values.std() * 600**0.5)
    assert abs(found[True]) < 5, (found, exact)
    assert abs(found[False]) > 10, (found, exact)


def test_foellmer_drift_of_gaussians():
    """The gradient form is exact for N(m, 1) whatever the draws; both are for N(m, s^2 1) when the
    draws are the quantiles of a unit normal.
    """
    m, s = 1.3, 0.7
    target = lambda x: -jnp.sum((x - m) ** 2) / 2 + 5.0
    eps = jax.random.normal(jax.random.key(0), (3, 2))
    drift = from_density.foellmer(target, eps, form="gradient")
    np.testing.assert_allclose(drift(jnp.asarray(Z), 0.3), [m, m], rtol=1e-12)
    quantiles = scipy.stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
    target = lambda x: -jnp.sum((x - m) ** 2) / (2 * s**2)
    for form in ("stein", "gradient"):
        drift = from_density.foellmer(target, quantiles, form=form)
        for t in (0.0, 0.5, 0.95):
            exact = (m / s**2 - (1 / s**2 - 1) * 0.4) / (1 + (1 / s**2 - 1) * (1 - t))
            np.testing.assert_allclose(drift(jnp.array([0.4]), t), [exact], rtol=5e-3)


def test_gaussian_fit_of_a_linear_inverse_problem():
    """Posterior mean and covariance within 5 % in ten dimensions, without gradients."""
    rng = np.random.default_rng(0)
    operator, y = rng.standard_normal((6, 10)) / 2, rng.standard_normal(6)
    cov = np.linalg.inv(np.eye(10) + operator.T @ operator / 0.09)
    mean = cov @ operator.T @ y / 0.09
    target = lambda x: -jnp.sum(x**2) / 2 - jnp.sum((y - operator @ x) ** 2) / 0.18
    fit = jax.jit(
        lambda key: from_density.gaussian_fit(
            key, target, np.zeros(10), np.eye(10), draws=10000, rounds=10
        )
    )(jax.random.key(0))
    assert fit.exponent == 1
    assert fit.effective_draws > 8000
    assert np.linalg.norm(fit.mean - mean) < 0.05 * np.linalg.norm(mean)
    assert np.linalg.norm(fit.cov - cov) < 0.05 * np.linalg.norm(cov)


@pytest.mark.usefixtures("x32")
def test_float32_and_lost_draws_stay_finite():
    process = processes.scalar.vp()
    eps = jax.random.normal(jax.random.key(0), (8, 2))
    nowhere = lambda x: jnp.where(x[0] > 1e6, 0.0, -jnp.inf)
    broken = lambda x: jnp.where(x[0] > 0, jnp.nan, -jnp.sum(x**2))
    for logdensity_fn in (nowhere, broken):
        found = from_density.importance(process, logdensity_fn, eps)(jnp.ones(2), 0.5)
        assert found.dtype == jnp.float32
        assert jnp.all(jnp.isfinite(found))


def test_wrong_input():
    process, target = processes.scalar.vp(), lambda x: -jnp.sum(x**2)
    eps = jnp.ones((4, 2))
    for call, message in [
        (lambda: from_density.importance(process, target, jnp.ones((1, 2))), "m >= 2"),
        (lambda: from_density.importance(process, target, eps, guess=(0.0, 0.0)), "positive"),
        (lambda: from_density.importance(process, target, eps)(jnp.ones(3), 0.5), "event"),
        (lambda: from_density.importance(process, lambda x: x, eps)(jnp.ones(2), 0.5), "one num"),
        (lambda: from_density.foellmer(target, eps, form="other"), "stein, gradient"),
        (lambda: from_density.ensemble(process, lambda x: jnp.nan * x[0], eps, target), "none"),
        (
            lambda: from_density.inner_draws(jax.random.key(0), (2,), starts=1, chains=1, steps=1),
            "s",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert predictions.from_density is from_density
