"""Annealed importance sampling against enumerated and closed-form normalisers."""

import itertools

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from jaxgen import energies, likelihoods, mcmc
from jaxgen.types import Distribution

SPINS = np.array(list(itertools.product([-1.0, 1.0], repeat=16)))
COLOURS = np.indices((4, 4)).sum(0).ravel() % 2
COIN = Distribution(
    lambda key: jax.random.rademacher(key, (16,), float), lambda s: -16 * jnp.log(2.0)
)
LADDER = np.linspace(0, 1, 25)


def grid(beta):
    target = energies.ising(energies.periodic_grid((4, 4)), inverse_temperature=beta)
    path = energies.geometric_path(COIN.logdensity, target)
    return path, lambda s: mcmc.coloured_gibbs(path(s), (-1.0, 1.0), COLOURS)


@pytest.mark.parametrize(
    ("beta", "truth", "rungs", "draws"),
    [
        (0.2, 11.771470, 24, 1000),
        pytest.param(0.4, 14.561093, 80, 4000, marks=pytest.mark.slow),
    ],
)
def test_the_grid_is_bracketed(beta, truth, rungs, draws):
    """Within 4 standard errors that are below 0.01, from below and from above."""
    path, kernel = grid(beta)
    ladder = np.linspace(0, 1, rungs + 1)
    forward = jax.jit(likelihoods.annealed_terms(path, kernel, ladder, COIN, draws=draws))
    found = forward(jax.random.key(0))
    assert found.standard_error < 0.01
    assert abs(found.log_normaliser - truth) < 4 * found.standard_error
    assert found.divergences == 0
    probs = jax.nn.softmax(jax.vmap(path(1.0))(SPINS))
    exact = SPINS[jax.random.choice(jax.random.key(1), len(SPINS), (1000,), p=probs)]
    reverse = jax.jit(likelihoods.annealed_reverse(path, kernel, ladder))
    above = reverse(jax.random.key(2), exact)
    assert above.standard_error < 0.03
    assert abs(above.log_normaliser - truth) < 4 * above.standard_error
    assert found.bound < truth < above.bound
    # Weighted particles: E|m| of the target
    weights = jax.nn.softmax(found.log_weights)
    sizes = jnp.abs(jnp.mean(found.particles, 1))
    mean = weights @ sizes
    error = jnp.sqrt(jnp.sum(weights**2 * (sizes - mean) ** 2))
    assert abs(mean - {0.2: 0.342766, 0.4: 0.764712}[beta]) < 5 * error


def gaussian(deviation=0.5):
    """exp of minus (x - 2)^2 / (2 deviation^2), from N(0, 1), by blackjax's random walk."""
    target = lambda x: -jnp.sum((x - 2) ** 2) / (2 * deviation**2)
    start = Distribution(
        lambda key: jax.random.normal(key, (1,)), lambda x: jnp.sum(norm.logpdf(x))
    )
    path = energies.geometric_path(start.logdensity, target)

    def kernel(exponent):
        scale = 2.0 * (1 + exponent * (deviation**-2 - 1)) ** -0.5
        return blackjax.normal_random_walk(path(exponent), jnp.atleast_1d(scale))

    return path, kernel, start, np.log(deviation * np.sqrt(2 * np.pi))


def test_a_gaussian_under_blackjax():
    path, kernel, start, truth = gaussian()
    ladder = np.linspace(0, 1, 41) ** 2
    options = {"draws": 1000, "steps": 2}
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        terms = jax.jit(likelihoods.annealed_terms(path, kernel, ladder, start, **options))
        found = terms(jax.random.key(3))
        log_prob = jax.jit(likelihoods.annealed(path, kernel, ladder, start, **options))
        x = jnp.array([1.7])
        value = log_prob(jax.random.key(3), x)
    assert abs(found.log_normaliser - truth) < 5 * found.standard_error
    assert found.standard_error < 0.05
    np.testing.assert_allclose(value, path(1.0)(x) - found.log_normaliser, rtol=1e-12)


def test_two_stops_are_importance_sampling():
    """One rung, whatever the kernel: the weights are p / q at draws of the start."""
    path, kernel, start, _ = gaussian()
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        found = jax.jit(likelihoods.annealed_terms(path, kernel, [0.0, 1.0], start, draws=50))(
            jax.random.key(4)
        )
        key_start, _ = jax.random.split(jax.random.key(4))
        xs = jax.vmap(start.sample)(jax.random.split(key_start, 50))
    expected = jax.vmap(lambda x: path(1.0)(x) - start.logdensity(x))(xs)
    np.testing.assert_allclose(found.log_weights, expected, rtol=1e-12)
    shares = np.asarray(jax.nn.softmax(expected))
    assert found.effective_draws == pytest.approx(1 / np.sum(shares**2))


def test_a_broken_density_is_counted():
    path = energies.geometric_path(lambda x: 0.0 * x, lambda x: jnp.log(x))
    still = lambda s: mcmc.independent(
        path(s), Distribution(lambda key: jax.random.normal(key), norm.logpdf)
    )
    start = Distribution(lambda key: jax.random.normal(key), norm.logpdf)
    terms = jax.jit(likelihoods.annealed_terms(path, still, [0.0, 1.0], start, draws=40))
    found = terms(jax.random.key(5))
    assert found.divergences >= 10
    assert np.isnan(found.log_normaliser)


@pytest.mark.usefixtures("x32")
def test_float32():
    path, kernel = grid(0.2)
    start = Distribution(
        lambda key: jax.random.rademacher(key, (16,), jnp.float32), COIN.logdensity
    )
    terms = jax.jit(likelihoods.annealed_terms(path, kernel, LADDER, start, draws=500))
    found = terms(jax.random.key(6))
    assert found.log_weights.dtype == jnp.float32
    assert abs(found.log_normaliser - 11.771470) < 5 * found.standard_error


@pytest.mark.parametrize(
    ("ladder", "options", "message"),
    [
        ([0.0, 0.5], {}, "must rise from 0 to 1; got 0.0 to 0.5"),
        ([0.1, 1.0], {}, "must rise from 0 to 1"),
        ([0.0, 0.6, 0.4, 1.0], {}, "not rising"),
        ([1.0], {}, r"must be \[T \+ 1\]"),
        ([0.0, 1.0], {"draws": 1}, "draws must be at least 2"),
        ([0.0, 1.0], {"steps": 0}, "steps must be None or at least 1"),
    ],
)
def test_bad_input(ladder, options, message):
    path, kernel = grid(0.2)
    with pytest.raises(ValueError, match=message):
        likelihoods.annealed_terms(path, kernel, ladder, COIN, **{"draws": 10} | options)


def test_the_reverse_needs_two_draws():
    path, kernel = grid(0.2)
    with pytest.raises(ValueError, match="at least two draws"):
        likelihoods.annealed_reverse(path, kernel, LADDER)(jax.random.key(0), SPINS[:1])
