"""Mixtures seen through linear channels, and mixtures as rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import densities

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(3, 2, 2))
COVS = FACTORS @ np.swapaxes(FACTORS, 1, 2) + 0.1 * np.eye(2)
PRIOR = densities.gaussian_mixture([0.2, 0.5, 0.3], [[-1.0, 0.3], [1.2, -0.4], [0.1, 0.8]], COVS)
READING = np.array([[1.0, -0.5], [0.3, 2.0], [0.7, 0.0]])
NOISE = np.array([[0.5, 0.1, 0.0], [0.1, 0.4, 0.2], [0.0, 0.2, 0.9]])
Y = np.array([0.4, -1.1, 0.9])


@pytest.mark.parametrize("noise", [NOISE, np.diag(NOISE)], ids=["full", "diagonal"])
def test_bayes_rule_at_points(noise):
    """log posterior = log prior + log likelihood - log evidence, everywhere."""
    exact = noise if noise.ndim == 2 else np.diag(noise)
    found, evidence = jax.jit(densities.linear_posterior)(PRIOR, READING, noise, Y)
    joint = [
        scipy.stats.multivariate_normal.pdf(Y, READING @ mean, READING @ cov @ READING.T + exact)
        for mean, cov in zip(PRIOR.means, COVS, strict=True)
    ]
    np.testing.assert_allclose(evidence, np.log(np.exp(PRIOR.log_weights) @ joint), rtol=1e-12)
    prior, posterior = (densities.distribution(one).logdensity for one in (PRIOR, found))
    for x in RNG.normal(size=(4, 2)) * 2:
        likelihood = scipy.stats.multivariate_normal.logpdf(Y, READING @ x, exact)
        np.testing.assert_allclose(posterior(x), prior(x) + likelihood - evidence, atol=1e-9)


def test_observations_one_by_one_are_all_at_once():
    """Sequential use: the posterior is the next prior; and log-evidences add."""
    whole, evidence = densities.linear_posterior(PRIOR, READING, np.diag(NOISE), Y)
    chain, total = PRIOR, 0.0
    for row, noise, y in zip(READING, np.diag(NOISE), Y, strict=True):
        chain, step = densities.linear_posterior(chain, row[None], noise[None], y[None])
        total += step
    np.testing.assert_allclose(total, evidence, rtol=1e-10)
    rows = densities.mixture_rows(chain), densities.mixture_rows(whole)
    np.testing.assert_allclose(*rows, atol=1e-10)


def test_far_observations_and_gradients_are_finite():
    far = jnp.array([1e5, -1e5, 1e5])
    found, evidence = densities.linear_posterior(PRIOR, READING, NOISE, far)
    assert np.isfinite(evidence)
    assert all(np.all(np.isfinite(leaf)) for leaf in found)
    slope = jax.grad(lambda y: densities.linear_posterior(PRIOR, READING, NOISE, y)[1])(Y)
    # Fisher's identity: the gradient of the log-evidence is the mean of the likelihood's.
    record, _ = densities.linear_posterior(PRIOR, READING, NOISE, Y)
    mean = np.exp(record.log_weights) @ record.means
    np.testing.assert_allclose(slope, np.linalg.solve(NOISE, READING @ mean - Y), atol=1e-10)


def test_rows_are_the_mixture():
    rows = densities.mixture_rows(PRIOR)
    assert rows.shape == (3, 6)
    back = densities.rows_mixture(rows)
    np.testing.assert_allclose(densities.mixture_rows(back), rows, atol=1e-12)
    order = np.array([2, 0, 1])
    shuffled = densities.gaussian_mixture(
        np.exp(PRIOR.log_weights)[order], PRIOR.means[order], COVS[order]
    )
    np.testing.assert_allclose(densities.mixture_rows(shuffled), rows[order], atol=1e-12)
    law, rowed = densities.distribution(PRIOR), densities.rows_distribution(rows)
    moved = densities.rows_distribution(rows.at[:, 0].add(5.0))  # weights not normalised
    for x in RNG.normal(size=(3, 2)):
        np.testing.assert_allclose(rowed.logdensity(x), law.logdensity(x), rtol=1e-12)
        np.testing.assert_allclose(moved.logdensity(x), law.logdensity(x), rtol=1e-12)
    draws = jax.vmap(rowed.sample)(jax.random.split(jax.random.key(0), 20_000))
    mean = np.exp(PRIOR.log_weights) @ PRIOR.means
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * draws.std(0) / 20_000**0.5)
    outer = np.einsum("ki,kj->kij", PRIOR.means, PRIOR.means) + COVS
    second = np.einsum("k,kij->ij", np.exp(PRIOR.log_weights), outer)
    products = np.einsum("ni,nj->nij", draws, draws)
    assert np.all(np.abs(products.mean(0) - second) < 5 * products.std(0) / 20_000**0.5)


def test_gradients_of_rows_are_finite_where_axes_are_equal():
    """Equal eigenvalues and equal components: no eigenvectors are differentiated."""
    rows = jnp.zeros((2, 6))
    slope = jax.grad(lambda rows: densities.rows_distribution(rows).logdensity(jnp.ones(2)))(rows)
    assert np.all(np.isfinite(slope))
    assert np.any(slope != 0)


def test_wrong_input():
    with pytest.raises(ValueError, match="must fit"):
        densities.linear_posterior(PRIOR, READING[:, :1], NOISE, Y)
    with pytest.raises(ValueError, match=r"y must be \[3\]"):
        densities.linear_posterior(PRIOR, READING, NOISE, Y[:2])
    with pytest.raises(ValueError, match="rows must be"):
        densities.rows_mixture(jnp.zeros((2, 5)))
