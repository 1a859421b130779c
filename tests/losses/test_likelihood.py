"""The door losses.likelihood: f(log_prob, ...) -> loss_fn(params, key, x0, t=None, **cond)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

from jaxgen.losses import likelihood

D, RANK, NOISE = 5, 2, 0.3
LOADINGS = np.random.default_rng(0).standard_normal((D, RANK))


def log_prob(params, x):
    """Probabilistic PCA: log N(x; 0, W W^T + exp(2 log_sigma) I)."""
    cov = params["W"] @ params["W"].T + jnp.exp(2 * params["log_sigma"]) * jnp.eye(D)
    half = jax.scipy.linalg.solve_triangular(chol := jnp.linalg.cholesky(cov), x, lower=True)
    log_det = jnp.sum(jnp.log(jnp.diagonal(chol)))
    return -0.5 * jnp.sum(half**2) - log_det - D / 2 * np.log(2 * np.pi)


def flat_data(n):
    """n points on a plane through the origin of R^5."""
    return np.random.default_rng(1).standard_normal((n, RANK)) @ LOADINGS.T


def closed_form(cov):
    """The maximum-likelihood W and log sigma of Tipping and Bishop 1999, equations 7 and 8."""
    values, vectors = np.linalg.eigh(cov)
    variance = max(values[: D - RANK].mean(), 1e-300)
    factor = vectors[:, D - RANK :] * np.sqrt(values[D - RANK :] - variance)
    return {"W": factor, "log_sigma": 0.5 * np.log(variance)}


def gradients(loss_fn, params, xs):
    run = jax.jit(jax.vmap(jax.grad(loss_fn), (None, 0, 0)))
    with jax.debug_key_reuse(False):
        return run(params, jax.random.split(jax.random.key(2), len(xs)), xs)


def test_instance_noise_recovers_its_own_variance():
    """Perturbed, sigma^2 = NOISE^2 is the stationary point, and nothing beside it is."""
    xs = flat_data(20)
    params = closed_form(xs.T @ xs / len(xs) + NOISE**2 * np.eye(D))
    assert np.exp(2 * params["log_sigma"]) == pytest.approx(NOISE**2, rel=1e-10)
    many = np.tile(xs, (400, 1))
    loss_fn = likelihood.instance_noise(log_prob, NOISE)
    found = gradients(loss_fn, params, many)
    # Averaged over the noise of the same points: the points themselves are the data, not random.
    for part in jax.tree.leaves(found):
        mean, error = textbook.mean_and_error(np.reshape(part, (400, 20, -1)).mean(1))
        textbook.within(mean, 0.0, error)
    beside = gradients(loss_fn, params | {"log_sigma": params["log_sigma"] + 0.1}, many)
    mean, error = textbook.mean_and_error(beside["log_sigma"].reshape(400, 20).mean(1))
    assert mean > 5 * error


def test_without_noise_the_likelihood_has_no_bound():
    """On the plane d(-log p) / d log sigma tends to d - rank > 0: sigma falls for ever."""
    xs = flat_data(50)
    fit = closed_form(xs.T @ xs / len(xs))
    plain = likelihood.negative_log_likelihood(log_prob)
    values = []
    for log_sigma in (-2.0, -5.0, -8.0):
        params = fit | {"log_sigma": log_sigma}
        slope = np.mean(gradients(plain, params, xs)["log_sigma"])
        values.append(np.mean(jax.vmap(lambda x, p=params: plain(p, None, x))(xs)))
        assert slope == pytest.approx(D - RANK, abs=0.2 * np.exp(2 * (log_sigma + 2)))
    np.testing.assert_allclose(np.diff(values), -3.0 * (D - RANK), rtol=0.02)


def test_mollification_ends_in_the_data_bit_for_bit():
    transform = likelihood.mollifier(100)
    x = np.random.default_rng(0).standard_normal((20000, 2)).astype(np.float32)
    run = jax.jit(transform)
    for step in (100, 101, 10**6):
        assert np.array_equal(run(jax.random.key(step), x, step), x)
    start = np.asarray(run(jax.random.key(1), x, 0))
    assert start.dtype == np.float32
    assert abs(np.mean(start * x)) < 5 / 40000**0.5  # nothing of the data is left
    for step in (30, 80):
        sigma = float(likelihood.sigmoid_mollification(step / 100))
        noised = np.asarray(run(jax.random.key(step), x, step))
        left = (noised - np.sqrt(1 - sigma**2) * x) / sigma
        assert abs(np.mean(left**2) - 1) < 5 * (2 / 40000) ** 0.5
    sigmas = np.asarray(likelihood.sigmoid_mollification(np.linspace(0, 1, 101)))
    assert (sigmas[0], sigmas[-1]) == (1.0, 0.0)
    assert np.all(np.diff(sigmas) < 0)


def test_mollified_is_the_likelihood_of_the_transformed():
    seen = lambda params, x, *, label: params * jnp.sum(x) + label
    transform = likelihood.mollifier(10)
    loss_fn = likelihood.mollified(seen, transform)
    key, x = jax.random.key(0), np.array([0.3, -1.2])
    with jax.debug_key_reuse(False):
        noised = transform(key, x, 4)
        assert float(loss_fn(2.0, key, x, step=4, label=1)) == float(-seen(2.0, noised, label=1))
    assert float(loss_fn(2.0, jax.random.key(1), x, step=10, label=1)) == -(2 * (0.3 - 1.2) + 1)
    plain = likelihood.instance_noise(seen, 0.0)
    assert float(plain(2.0, jax.random.key(1), x, label=0)) == pytest.approx(1.8)


def test_instance_scale_balances_noise_and_estimation():
    for n, d, b in ((100, 1, 2.0), (10**6, 3, 0.5)):
        sigma = likelihood.instance_scale(n, d, smoothness=b)
        assert n ** (-b / (2 * b + d)) * sigma ** (-d / (2 * b + d)) == pytest.approx(sigma)
    assert likelihood.instance_scale(100, 1, scale=3.0) == pytest.approx(3 * 100**-0.25)


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match=r"^losses\.likelihood\.mollifier: steps .*; got 0"):
        likelihood.mollifier(0)
    with pytest.raises(ValueError, match=r"instance_noise: sigma must be at least 0; got -1\.0"):
        likelihood.instance_noise(log_prob, -1.0)
    with pytest.raises(ValueError, match=r"instance_scale: dim must be positive; got 0"):
        likelihood.instance_scale(10, 0)
