"""Probabilities of levels against a discretised Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import norm

from jaxgen import data, densities, likelihoods
from jaxgen.types import Distribution

LEVELS, MEAN, DEVIATION = 8, np.array([0.2, -0.4]), 0.3
X = np.array([5.0, 1.0])
EDGES = np.arange(LEVELS + 1) * 2 / LEVELS - 1


def log_prob(key, y):
    return densities.distribution(densities.gaussian(MEAN, DEVIATION**2)).logdensity(y)


def truth():
    cells = [norm.cdf(EDGES, mean, DEVIATION) for mean in MEAN]
    return sum(np.log(np.diff(c)[int(x)]) for c, x in zip(cells, X, strict=True))


def given_level(x):
    """The law of u given the level, exactly: a Gaussian cut to the cell."""
    low, high = (
        jax.scipy.stats.norm.cdf((2 * (x + end) / LEVELS - 1 - MEAN) / DEVIATION) for end in (0, 1)
    )

    def sample(key):
        p = low + (high - low) * jax.random.uniform(key, x.shape, x.dtype)
        y = MEAN + DEVIATION * jax.scipy.special.ndtri(p)
        return (y + 1) * LEVELS / 2 - x

    def logdensity(u):
        y = 2 * (x + u) / LEVELS - 1
        logs = jax.scipy.stats.norm.logpdf(y, MEAN, DEVIATION) - jnp.log(high - low)
        return jnp.sum(logs) + x.size * np.log(2 / LEVELS)

    return Distribution(sample, logdensity)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_uniform_noise_bounds_and_its_weights_average_to_the_probability():
    keys = jax.random.split(jax.random.key(0), 4_000)
    one = likelihoods.dequantised(log_prob, LEVELS)
    found = np.asarray(jax.jit(jax.vmap(one, (0, None)))(keys, X))
    u, weights = np.polynomial.legendre.leggauss(20)
    y = 2 * (X[:, None] + (u + 1) / 2) / LEVELS - 1
    bound = np.sum(norm.logpdf(y, MEAN[:, None], DEVIATION) @ weights / 2) + 2 * np.log(2 / LEVELS)
    mean, error = textbook.mean_and_error(found)
    textbook.within(mean, bound, error)
    assert bound < truth() - 0.01
    textbook.within(*textbook.mean_and_error(np.exp(found))[:1], np.exp(truth()), error)
    tight = likelihoods.importance(one, 64)
    many = np.asarray(jax.jit(jax.vmap(tight, (0, None)))(keys[:300], X))
    assert bound < np.mean(many) - 5 * np.std(many) / 300**0.5
    assert truth() == pytest.approx(np.mean(many), abs=0.02)
    y = data.to_unit(X, LEVELS, np.array([0.3, 0.9]), dtype=np.float64)
    fixed = lambda x: Distribution(lambda key: jnp.array([0.3, 0.9]), lambda u: jnp.zeros(()))
    placed = likelihoods.dequantised(log_prob, LEVELS, conditional=fixed)(keys[0], X.astype(int))
    assert float(placed) == pytest.approx(
        float(log_prob(None, y)) + 2 * data.log_cell_width(LEVELS), rel=1e-12
    )


def test_the_exact_conditional_is_exact_for_every_draw():
    run = likelihoods.dequantised(log_prob, LEVELS, conditional=given_level)
    keys = jax.random.split(jax.random.key(1), 20)
    found = jax.jit(jax.vmap(run, (0, None)))(keys, X)
    np.testing.assert_allclose(found, truth(), rtol=1e-10)


def test_refuses_when_it_is_built():
    with pytest.raises(ValueError, match=r"^likelihoods\.dequantised: levels must .*; got 1"):
        likelihoods.dequantised(log_prob, 1)
    with pytest.raises(ValueError, match=r"^likelihoods\.dequantised: low < high .*; got 1"):
        likelihoods.dequantised(log_prob, 8, low=1.0, high=1.0)
