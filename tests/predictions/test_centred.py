"""Points up to translation: the normal law of centre of mass 0, and the rest by one adapter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import textbook

import jaxgen as jg
from jaxgen.math import centre, helmert, unhelmert

M, D = 4, 3
X = np.random.default_rng(0).standard_normal((M, D)) + 2.0


def turn():
    """A rotation [3, 3]."""
    return scipy.linalg.expm(np.cross(np.eye(3), np.array([0.4, -1.1, 0.7])))


def test_coordinates_are_orthonormal_and_lose_the_centre_alone():
    y = helmert(jnp.asarray(X))
    np.testing.assert_allclose(
        y @ y.T, scipy.linalg.helmert(M) @ X @ X.T @ scipy.linalg.helmert(M).T
    )
    np.testing.assert_allclose(unhelmert(y), X - X.mean(0), atol=1e-14)
    np.testing.assert_allclose(helmert(unhelmert(y)), y, atol=1e-14)
    np.testing.assert_allclose(helmert(jnp.stack([X, X + 5.0]))[1], y, atol=1e-14)
    for wrong in (np.zeros(3), np.zeros((1, 3))):
        with pytest.raises(ValueError, match="helmert"):
            helmert(wrong)
    with pytest.raises(ValueError, match="unhelmert"):
        unhelmert(np.zeros(3))


def test_the_centred_normal_law_normalises_in_its_own_dimensions():
    """Two points on the line: the subspace is the line (1, -1) / sqrt 2."""
    law = jg.densities.centred_normal(2, 1, 0.7)
    s = np.linspace(-8, 8, 2001)
    points = s[:, None, None] * np.array([[1.0], [-1.0]]) / np.sqrt(2)
    total = np.trapezoid(np.exp(jax.vmap(law.logdensity)(points)), s)
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    law = jg.densities.centred_normal(M, D, 0.7)
    y = helmert(jnp.asarray(X))
    np.testing.assert_allclose(law.logdensity(X), scipy.stats.norm.logpdf(y, scale=0.7).sum())
    np.testing.assert_allclose(law.logdensity(X @ turn() + 3.0), law.logdensity(X), rtol=1e-12)
    draws = np.asarray(jax.vmap(law.sample)(jax.random.split(jax.random.key(0), 4000)))
    assert np.max(np.abs(draws.mean(1))) < 1e-12
    mean, error = textbook.mean_and_error(draws[:, :, 1:2] * draws[:, None, :, 1])
    textbook.within(mean, 0.49 * (np.eye(M) - 1 / M), error)
    for wrong in [(1, 3), (3, 0), (3, 3, -1.0)]:
        with pytest.raises(ValueError, match="centred_normal"):
            jg.densities.centred_normal(*wrong)


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_noise_in_shape_is_projected_noise(name):
    scalar = name == "vp"
    process = getattr(jg.processes.scalar if scalar else jg.processes.augmented, name)()
    shape = (M, D) if scalar else (2, M, D)
    eps = np.random.default_rng(1).standard_normal(shape)
    whole = jg.corrupt(process, X, eps, 0.4)
    ours = jg.corrupt(process, helmert(jnp.asarray(X)), helmert(jnp.asarray(eps)), 0.4)
    np.testing.assert_allclose(unhelmert(ours), centre(whole), atol=1e-12)


def network(params, z, t):
    """Equivariant under rotations, translations and permutations."""
    away = z[:, None] - z[None]
    square = jnp.sum(away**2, -1, keepdims=True)
    return centre(z) * jnp.exp(-t) + params * jnp.sum(away * jnp.tanh(square + t), 1)


VP = jg.processes.scalar.vp(0.1, 6.0)


def test_a_denoiser_turns_with_its_points():
    denoiser = jg.predictions.in_shape(lambda z, t: network(0.05, z, t))
    answer = jax.jit(lambda x: unhelmert(denoiser(helmert(x), 0.3)))
    np.testing.assert_allclose(answer(X @ turn() - 7.0), answer(X) @ turn(), atol=1e-10)
    np.testing.assert_allclose(answer(X[::-1]), answer(X)[::-1], atol=1e-10)


@pytest.mark.slow
def test_likelihoods_know_only_shapes():
    denoiser = jg.predictions.in_shape(lambda z, t: network(0.05, z, t))
    log_prob = jg.likelihoods.flow_ode(VP, denoiser, jg.grids.power(VP, 12), order=2)
    run = jax.jit(jax.vmap(lambda x: log_prob(jax.random.key(0), helmert(x))))
    first, *moved = run(jnp.stack([X, X + 4.0, X @ turn(), X[::-1]]))
    np.testing.assert_allclose(moved, np.full(3, first), rtol=1e-10)


def test_exact_likelihood_of_centred_normal_data():
    """log p of N(0, s^2) on the subspace noised to t_min, in (m - 1) d dimensions."""
    scale = 0.6

    def exact(z, t):
        alpha, sigma = VP.transition(t)
        return alpha * scale**2 / (alpha**2 * scale**2 + sigma**2) * z

    denoiser = jg.predictions.in_shape(exact)
    alpha, sigma = VP.transition(VP.t_min)
    ends = [np.hypot(scale * a, s) for a, s in (VP.transition(1.0), (alpha, sigma))]
    prior = jg.types.Distribution(
        None, lambda y: jg.densities.centred_normal(M, D, ends[0]).logdensity(unhelmert(y))
    )
    log_prob = jg.likelihoods.flow_ode(VP, denoiser, jg.grids.power(VP, 200), prior=prior)
    found = jax.jit(log_prob)(jax.random.key(0), helmert(jnp.asarray(X)))
    truth = jg.densities.centred_normal(M, D, ends[1]).logdensity(X)
    np.testing.assert_allclose(found, truth, rtol=1e-6)


@pytest.mark.slow
def test_the_loss_takes_the_adapter():
    """Its gradient is that of noise projected by hand."""
    loss_fn = jg.losses.score.denoising(VP, jg.predictions.in_shape(network), kind="eps")
    t = 0.4
    x0 = helmert(jnp.asarray(X))
    found, slope = jax.jit(jax.value_and_grad(loss_fn))(0.1, jax.random.key(3), x0, t)
    eps = centre(unhelmert(jax.random.normal(jax.random.split(jax.random.key(3))[1], x0.shape)))
    alpha, sigma = VP.transition(t)

    def by_hand(params):
        z = alpha * centre(jnp.asarray(X)) + sigma * eps
        return jnp.sum((centre(network(params, z, t)) - eps) ** 2) / ((M - 1) * D)

    value, truth = jax.value_and_grad(by_hand)(0.1)
    np.testing.assert_allclose([found, slope], [value, truth], rtol=1e-10)
