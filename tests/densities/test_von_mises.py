import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import densities
from jaxgen.math import iv_ratio

KAPPAS = np.array([0.0, 1e-3, 0.7, 5.0, 30.0, 800.0, 1e6])


@functools.partial(jax.jit, static_argnums=3)
def draw(key, mean, kappa, n):
    return jax.vmap(densities.von_mises(mean, kappa).sample)(jax.random.split(key, n))


@jax.jit
def grid_logdensity(xs, kappa):
    return jax.vmap(densities.von_mises(0.3, kappa).logdensity)(xs)


def midpoints(n):
    return -np.pi + 2 * np.pi * (np.arange(n) + 0.5) / n


def test_density_integrates_to_one():
    # The trapezoidal rule is exact to all digits for periodic functions that n points resolve.
    xs = midpoints(1000)
    for kappa in (0.0, 0.7, 5.0, 800.0):
        total = np.mean(np.exp(np.asarray(grid_logdensity(xs, kappa)))) * 2 * np.pi
        assert total == pytest.approx(1, abs=1e-13)


def test_entropy():
    entropy = jax.jit(densities.von_mises_entropy)
    found = entropy(jnp.asarray(KAPPAS))
    assert float(found[3]) == pytest.approx(0.675643, abs=5e-7)
    assert float(found[0]) == pytest.approx(np.log(2 * np.pi), rel=1e-15)
    log_p = np.asarray(grid_logdensity(midpoints(1000), 5.0))
    assert float(found[3]) == pytest.approx(-np.mean(np.exp(log_p) * log_p) * 2 * np.pi, rel=1e-12)
    # N(0, 1 / kappa) in the limit; the next term is 1 / (4 kappa).
    gauss = np.log(2 * np.pi * np.e / 1e6) / 2
    assert float(found[-1]) == pytest.approx(gauss + 2.5e-7, abs=1e-12)
    short = entropy(jnp.asarray(KAPPAS, jnp.float32))
    assert short.dtype == jnp.float32
    np.testing.assert_allclose(short, found, rtol=1e-6, atol=1e-6)


def test_divergence():
    # by quadrature, and the one of two narrow Gaussians
    xs = midpoints(1000)
    p, q = densities.von_mises(0.3, 5.0), densities.von_mises(1.5, 2.0)
    log_p, log_q = (np.asarray(jax.vmap(law.logdensity)(xs)) for law in (p, q))
    exact = np.mean(np.exp(log_p) * (log_p - log_q)) * 2 * np.pi
    divergence = jax.jit(densities.von_mises_divergence)
    found = divergence(
        *map(jnp.asarray, ([0.3, 0.0, 1.0], [5.0, 1e6, 3.0], [1.5, 1e-3, 1.0], [2.0, 4e6, 3.0]))
    )
    gauss = (4 + 4e6 * 1e-6 - 1 - np.log(4)) / 2
    np.testing.assert_allclose(found, [exact, gauss, 0], rtol=2e-6, atol=1e-14)
    assert float(found[0]) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 5.0, pytest.param(800.0, marks=pytest.mark.slow), 1e6])
def test_samples_have_the_distribution_function(kappa):
    xs = np.asarray(draw(jax.random.key(1), 1.0, kappa, 4000))
    assert (np.abs(xs) <= np.pi).all()
    away = (xs - 1 + np.pi) % (2 * np.pi) - np.pi
    law = scipy.stats.vonmises(kappa) if kappa else scipy.stats.uniform(-np.pi, 2 * np.pi)
    assert scipy.stats.kstest(away, law.cdf).pvalue > 0.01


def test_float32_samples_keep_their_digits():
    # 1 - cos of the angles is 1e-6: an arccos would leave a tenth of it.
    xs = draw(jax.random.key(2), jnp.float32(0), jnp.float32(1e6), 4000)
    assert xs.dtype == jnp.float32
    assert scipy.stats.kstest(np.asarray(xs, float), scipy.stats.norm(0, 1e-3).cdf).pvalue > 0.01


def test_a_torus_has_independent_entries():
    mean, kappa = jnp.asarray([1.0, -2.0]), jnp.asarray([3.0, 40.0])
    law = densities.von_mises(mean, kappa)
    x = jnp.asarray([0.5, 3.0])
    each = [densities.von_mises(mean[i], kappa[i]).logdensity(x[i]) for i in (0, 1)]
    assert float(law.logdensity(x)) == pytest.approx(float(sum(each)), rel=1e-14)
    xs = np.asarray(draw(jax.random.key(3), mean, kappa, 4000))
    cos = np.cos(xs - np.asarray(mean)[None])
    ratio = scipy.special.ive(1, np.asarray(kappa)) / scipy.special.ive(0, np.asarray(kappa))
    assert (np.abs(cos.mean(0) - ratio) < 5 * cos.std(0) / np.sqrt(len(cos))).all()
    sin = np.sin(xs - np.asarray(mean)[None])
    cross = sin[:, 0] * sin[:, 1]
    assert abs(cross.mean()) < 5 * cross.std() / np.sqrt(len(cross))


def test_fit_solves_the_likelihood_equations():
    xs = jnp.asarray(np.random.default_rng(0).vonmises(2.9, 4.0, 300))
    fit = jax.jit(densities.von_mises_fit)
    mean, kappa = fit(xs)
    ratio = scipy.special.ive(1, float(kappa)) / scipy.special.ive(0, float(kappa))
    assert float(jnp.mean(jnp.cos(xs - mean))) == pytest.approx(ratio, rel=1e-13)
    assert float(jnp.mean(jnp.sin(xs - mean))) == pytest.approx(0, abs=1e-14)
    # Weights count repetitions; a shift of the angles shifts the mean.
    weights = jnp.concatenate([jnp.full(100, 3.0), jnp.zeros(200)])
    repeated = fit(jnp.asarray(np.tile(xs[:100], 3)))
    np.testing.assert_allclose(fit(xs, weights), repeated, rtol=1e-12)


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.slow), "float32"])
def test_fit_inverts_the_mean_resultant(dtype):
    # Two angles at +-a have resultant cos a; 1 - cos a is their gap, to 1e-7 and closer.
    gap = np.array([1e-7, 1e-3, 0.2, 0.9, 0.999])
    a = 2 * np.arcsin(np.sqrt(gap / 2))
    mean, kappa = jax.jit(densities.von_mises_fit)(jnp.asarray([a, -a], dtype))
    assert kappa.dtype == dtype
    found = iv_ratio(0, kappa.astype(float), complement=True)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found, gap, rtol=tolerance)
    np.testing.assert_allclose(mean, 0, atol=1e-6)


def test_degenerate_fits():
    rows = jnp.asarray([[0.5] * 4, [0.0, 0.0, np.pi, -np.pi], [0.5] * 4]).T
    equal, balanced, _ = jax.jit(densities.von_mises_fit)(rows)[1]
    assert float(equal) == 1e8
    assert float(balanced) < 1e-7
    nothing = jax.jit(densities.von_mises_fit)(rows, jnp.zeros(4))
    np.testing.assert_array_equal(nothing, 0)
    total = lambda xs: sum(jnp.sum(part) for part in densities.von_mises_fit(xs))
    assert bool(jnp.all(jnp.isfinite(jax.jit(jax.grad(total))(rows))))


@pytest.mark.slow
def test_gradient_of_the_fit_is_that_of_the_equation():
    # kappa solves A(kappa) = R: d kappa / dx by a central difference of the fit itself.
    xs = jnp.asarray([0.1, 0.4, -0.9, 1.3])
    fit = lambda xs: densities.von_mises_fit(xs)[1]
    step = 1e-6 * jnp.eye(4)[2]
    slope = jax.jit(jax.grad(fit))(xs)[2]
    numeric = (jax.jit(fit)(xs + step) - jax.jit(fit)(xs - step)) / 2e-6
    assert float(slope) == pytest.approx(float(numeric), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_are_finite(dtype):
    slope = jax.grad(lambda m, k, x: densities.von_mises(m, k).logdensity(x), (0, 1, 2))
    kappas = jnp.asarray(KAPPAS, dtype)
    for part in jax.jit(jax.vmap(slope, (None, 0, None)))(1.0, kappas, jnp.asarray(1.3, dtype)):
        assert bool(jnp.all(jnp.isfinite(part)))


WEIGHTS, MEANS = np.array([0.5, 0.3, 0.2]), np.array([-2.0, 0.5, 3.0])
MIXTURE = (np.log(WEIGHTS) + 7, MEANS, np.array([20.0, 3.0, 900.0]))


def test_mixture():
    law = densities.von_mises_mixture(*MIXTURE)
    xs = midpoints(2000)
    log_p = np.asarray(jax.jit(jax.vmap(law.logdensity))(xs))
    assert np.mean(np.exp(log_p)) * 2 * np.pi == pytest.approx(1, abs=1e-12)
    parts = [scipy.stats.vonmises(k).pdf(xs - m) for m, k in zip(*MIXTURE[1:], strict=True)]
    np.testing.assert_allclose(np.exp(log_p), WEIGHTS @ parts, rtol=1e-10)
    draws = jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(4), 4000))
    cdf = lambda x: np.interp(x, xs + np.pi / 2000, np.cumsum(np.exp(log_p)) * 2 * np.pi / 2000)
    assert scipy.stats.kstest(np.asarray(draws), cdf).pvalue > 0.01


def test_mixture_on_a_torus():
    means = jnp.asarray([[0.0, 1.0], [2.0, -1.0]])
    law = densities.von_mises_mixture(
        jnp.log(jnp.asarray([0.6, 0.4])), means, jnp.asarray([4.0, 9.0])
    )
    x = jnp.asarray([0.3, 0.2])
    each = [densities.von_mises(means[k], (4.0, 9.0)[k]).logdensity(x) for k in (0, 1)]
    exact = np.logaddexp(np.log(0.6) + each[0], np.log(0.4) + each[1])
    assert float(law.logdensity(x)) == pytest.approx(float(exact), rel=1e-14)
    assert law.sample(jax.random.key(0)).shape == (2,)


def test_errors():
    with pytest.raises(ValueError, match="densities.von_mises: the concentration must be finite"):
        densities.von_mises(0.0, -1.0)
    with pytest.raises(ValueError, match=r"densities.von_mises: the concentration must be \[\]"):
        densities.von_mises(0.0, jnp.ones(2))
    with pytest.raises(ValueError, match="densities.von_mises_fit: xs must be"):
        densities.von_mises_fit(jnp.zeros(3), jnp.zeros(2))
    with pytest.raises(ValueError, match="densities.von_mises_mixture: log_weights"):
        densities.von_mises_mixture(jnp.zeros(2), jnp.zeros(3), jnp.zeros(3))
