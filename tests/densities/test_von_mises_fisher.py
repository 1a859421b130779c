import functools
import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.stats
from bessel import log_i

from jaxgen import densities


@functools.partial(jax.jit, static_argnums=3)
def draw(key, mean, kappa, n):
    return jax.vmap(densities.von_mises_fisher(mean, kappa).sample)(jax.random.split(key, n))


def direction(d):
    return np.random.default_rng(d).normal(size=d)


@pytest.mark.parametrize(("d", "kappa"), [(5, 1e4), (2048, 700.0), (32768, 1e6)])
def test_log_normaliser(d, kappa):
    # At the mean the log-density is kappa + (d/2-1) log kappa - d/2 log(2 pi) - log I_{d/2-1}.
    v = d / 2 - 1
    with mp.workdps(30):
        exact = kappa + v * mp.log(kappa) - mp.mpf(d) / 2 * mp.log(2 * mp.pi) - log_i(v, kappa)
    mean = direction(d)
    law = densities.von_mises_fisher(mean, kappa)
    found = jax.jit(law.logdensity)(jnp.asarray(mean / np.linalg.norm(mean)))
    assert float(found) == pytest.approx(float(exact), rel=1e-13)


def test_textbook_twin():
    mean = direction(5) / np.linalg.norm(direction(5))
    twin = scipy.stats.vonmises_fisher(mean, 7.0)
    law, x = densities.von_mises_fisher(3 * mean, 7.0), np.eye(5)[0]
    assert float(jax.jit(law.logdensity)(x)) == pytest.approx(twin.logpdf(x), rel=1e-13)
    entropy = jax.jit(functools.partial(densities.von_mises_fisher_entropy, 5))(7.0)
    assert float(entropy) == pytest.approx(twin.entropy(), rel=1e-13)


def test_on_the_circle_it_is_von_mises():
    x = jnp.asarray([jnp.cos(0.3), jnp.sin(0.3)])
    law = densities.von_mises_fisher(jnp.asarray([jnp.cos(2.0), jnp.sin(2.0)]), 4.0)
    other = densities.von_mises(2.0, 4.0)
    assert float(jax.jit(law.logdensity)(x)) == pytest.approx(
        float(jax.jit(other.logdensity)(0.3)), rel=1e-13
    )


def test_uniform_at_zero():
    logdensity = lambda k, x: densities.von_mises_fisher(jnp.asarray([1.0, 0, 0]), k).logdensity(x)
    both = jax.jit(jax.vmap(jax.value_and_grad(logdensity), (None, 0)))
    values, slopes = both(0.0, jnp.asarray([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(values, -math.log(4 * math.pi), rtol=1e-14)
    np.testing.assert_allclose(slopes, [0, 1], atol=1e-14)
    entropy = jax.jit(functools.partial(densities.von_mises_fisher_entropy, 3))(0.0)
    assert float(entropy) == pytest.approx(math.log(4 * math.pi), rel=1e-14)


@pytest.mark.parametrize("kappa", [0.0, 2.0, 1e6])
def test_samples_on_the_sphere(kappa):
    # In three dimensions f = 1 - w has P(F < f) = (1 - exp(-kappa f)) / (1 - exp(-2 kappa)).
    mean = direction(3) / np.linalg.norm(direction(3))
    xs = np.asarray(draw(jax.random.key(1), jnp.asarray(mean), kappa, 3000))
    np.testing.assert_allclose(np.linalg.norm(xs, axis=1), 1, rtol=1e-14)
    fall = np.sum((xs - mean) ** 2, 1) / 2
    cdf = lambda f: np.expm1(-kappa * f) / np.expm1(-2 * kappa) if kappa else f / 2
    assert scipy.stats.kstest(fall, cdf).pvalue > 0.01
    side = xs - (xs @ mean)[:, None] * mean
    frame = np.linalg.svd(mean[None])[2][1:]
    turn = np.arctan2(*(side @ frame.T).T)
    assert scipy.stats.kstest(turn, scipy.stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01


@pytest.mark.slow
def test_divergence_by_monte_carlo_and_at_equal_laws():
    a, b = jnp.asarray(direction(4)), jnp.asarray([1.0, 0.5, 0.0, -1.0])
    p, q = densities.von_mises_fisher(a, 6.0), densities.von_mises_fisher(b, 2.0)
    xs = draw(jax.random.key(5), a, 6.0, 4000)
    terms = np.asarray(jax.jit(jax.vmap(lambda x: p.logdensity(x) - q.logdensity(x)))(xs))
    found = float(densities.von_mises_fisher_divergence(a, 6.0, b, 2.0))
    assert abs(terms.mean() - found) < 5 * terms.std() / np.sqrt(len(terms))
    same = densities.von_mises_fisher_divergence(a, 6.0, 2 * a, 6.0)
    assert float(same) == pytest.approx(0, abs=1e-14)


def test_fit_in_2048_dimensions():
    mean = direction(2048) / np.linalg.norm(direction(2048))
    xs = draw(jax.random.key(2), jnp.asarray(mean), 1500.0, 500)
    found, kappa = jax.jit(densities.von_mises_fisher_fit)(xs)
    assert float(kappa) == pytest.approx(1500, rel=0.01)
    assert float(found @ mean) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("d", [512, 2048, 8192])
def test_fit_in_many_dimensions_and_both_dtypes(d):
    mean = direction(d) / np.linalg.norm(direction(d))
    for kappa in (4.0 * d, 20.0 * d):  # lower ones are biased by d / n, as all of the kind
        for dtype in ("float64", "float32"):
            xs = draw(jax.random.key(2), jnp.asarray(mean, dtype), jnp.asarray(kappa, dtype), 300)
            found, concentration = jax.jit(densities.von_mises_fisher_fit)(xs)
            assert concentration.dtype == dtype
            assert float(concentration) == pytest.approx(kappa, rel=0.01)


def test_degenerate_fits():
    axes = jnp.eye(3)
    fit = jax.jit(densities.von_mises_fisher_fit)
    everything, balanced = jnp.ones(6), jnp.concatenate([axes, -axes])
    mean, kappa = fit(balanced, everything)
    np.testing.assert_array_equal(mean, [1, 0, 0])
    assert float(kappa) == 0
    mean, kappa = fit(balanced, jnp.asarray([0.0, 2.0, 0, 0, 0, 0]))
    np.testing.assert_allclose(mean, [0, 1, 0])
    assert float(kappa) == 1e8


def test_errors():
    with pytest.raises(ValueError, match=r"densities.von_mises_fisher: mean must be \[d\]"):
        densities.von_mises_fisher(jnp.ones(1), 1.0)
    with pytest.raises(ValueError, match="densities.von_mises_fisher: mean must be finite"):
        densities.von_mises_fisher(jnp.zeros(3), 1.0)
    with pytest.raises(ValueError, match="densities.von_mises_fisher: the concentration"):
        densities.von_mises_fisher(jnp.ones(3), -1.0)
    with pytest.raises(ValueError, match="densities.von_mises_fisher_fit: xs must be"):
        densities.von_mises_fisher_fit(jnp.ones(3))
    with pytest.raises(ValueError, match="densities.von_mises_fisher_entropy: d must be"):
        densities.von_mises_fisher_entropy(1, 1.0)
