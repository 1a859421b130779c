"""Scores through relative densities, and the scores of data near subspaces."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

import jaxgen as jg

MIXTURE = ([0.3, 0.7], [[-0.6, 0.4], [0.5, -0.2]], [0.5, 0.9])


def test_relative_scores_are_those_of_the_mixture():
    """By 64 nodes in each direction, 1e-8, under processes that keep the variance and do not."""
    mixture = jg.densities.gaussian_mixture(*MIXTURE)
    law = jg.densities.distribution(mixture)
    noise = jg.densities.hermite_noise(2)
    unnormalised = lambda x: law.logdensity(x) + 3.0
    xs = np.array([[0.3, -0.8], [1.4, 0.2], [-1.9, 1.1]])
    times = {"vp": 0.25, "edm": 0.9}
    scores = {
        name: jg.densities.relative_score(
            unnormalised, getattr(jg.processes.scalar, name)(), *noise
        )
        for name in times
    }
    run = jax.jit(
        lambda xs: {k: jax.vmap(lambda x, k=k: scores[k](x, times[k]))(xs) for k in scores}
    )
    everything = run(xs)
    for name, t in times.items():
        found = everything[name]
        column, cov = textbook.channel(name, t)
        arrays = [np.asarray(part) for part in MIXTURE]
        truth = [textbook.posterior(x[None], column, cov, *arrays)[2][0] for x in xs]
        np.testing.assert_allclose(found, truth, atol=1e-8, err_msg=name)


@pytest.mark.slow
def test_relative_scores_by_draws():
    law = jg.densities.gaussian(np.array([0.4]), 0.5)
    density = jg.densities.distribution(law).logdensity
    vp, x, t = jg.processes.scalar.vp(), np.array([0.9]), 0.4
    draws = np.random.default_rng(0).standard_normal((40, 500, 1))
    run = lambda noise: jg.densities.relative_score(density, vp, noise)(x, t)[0]
    mean, error = textbook.mean_and_error(jax.jit(jax.vmap(run))(draws))
    alpha, sigma = textbook.SCHEDULES["vp"](t)
    truth = -(0.9 - alpha * 0.4) / (alpha**2 * 0.5 + sigma**2)
    textbook.within(mean, truth, np.hypot(error, 1e-3))  # a ratio of means is off by 1 / 500


def test_errors():
    density, vp, x, t = jnp.sum, jg.processes.scalar.vp(), np.array([0.9]), 0.4
    for call, says in [
        (lambda: jg.densities.relative_score(density, vp, np.zeros(3)), "noise"),
        (lambda: jg.densities.hermite_noise(0), "at least 1"),
        (
            lambda: jg.densities.relative_score(
                density, jg.processes.augmented.cld(), np.zeros((3, 1))
            )(x, t),
            "scalar",
        ),
    ]:
        with pytest.raises(ValueError, match=says):
            call()


@functools.cache
def subspaces():
    """Two orthonormal bases [2, 6, 2] and data [n, 6] on them."""
    random = np.random.default_rng(0)
    bases = np.stack([np.linalg.qr(random.standard_normal((6, 2)))[0] for _ in range(2)])
    k = random.choice(2, 40, p=[0.4, 0.6])
    return bases, np.einsum("ndr,nr->nd", bases[k], random.standard_normal((40, 2)))


def test_the_deciding_denoiser_projects():
    bases, data = subspaces()
    mixture = jg.densities.low_rank_mixture([0.4, 0.6], np.zeros((2, 6)), bases, [1e-9, 1e-9])
    vp, t = jg.processes.scalar.vp(), 0.35
    alpha, sigma = textbook.SCHEDULES["vp"](t)
    zs = alpha * data[:8] + sigma * np.random.default_rng(1).standard_normal((8, 6))
    ours = jax.jit(jax.vmap(lambda z: jg.densities.deciding_denoiser(mixture, vp)(z, t)))(zs)
    scores = np.log([0.4, 0.6]) + np.sum(np.einsum("kdr,nd->nkr", bases, zs) ** 2, 2) * (
        alpha**2 / (2 * sigma**2 * (alpha**2 + sigma**2))
    )
    chosen = bases[np.argmax(scores, 1)]
    truth = alpha / (alpha**2 + sigma**2) * np.einsum("ndr,ner,ne->nd", chosen, chosen, zs)
    np.testing.assert_allclose(ours, truth, atol=1e-7)


def test_the_denoising_loss_is_subspace_clustering():
    """Gauss-Hermite over the noise of every entry that the projection keeps."""
    bases, data = subspaces()
    guess = np.random.default_rng(2).standard_normal((2, 6, 2))
    x0, t = data[3], 0.3
    loss_fn = jg.losses.score.subspaces(jg.processes.scalar.vp())
    found = float(jax.jit(loss_fn)(guess, jax.random.key(0), x0, t))
    alpha, sigma = textbook.SCHEDULES["vp"](t)
    orthonormal = np.stack([np.linalg.qr(each)[0] for each in guess])
    u = orthonormal[np.argmax(np.sum(np.einsum("kdr,d->kr", orthonormal, x0) ** 2, 1))]
    points, logs = jg.densities.hermite_noise(2, 5)
    x0hat = (alpha * u.T @ x0 + sigma * points) @ u.T * alpha / (alpha**2 + sigma**2)
    truth = np.exp(logs) @ np.mean((x0hat - x0) ** 2, 1)
    assert found == pytest.approx(truth, rel=1e-12)


def mean_loss(params):
    loss_fn = jg.losses.score.subspaces(jg.processes.scalar.vp())
    one = lambda x0: loss_fn(params, jax.random.key(0), x0, 0.2)
    return jnp.mean(jax.vmap(one)(subspaces()[1]))


def test_one_subspace_is_pca():
    data, mean = subspaces()[1], mean_loss
    value_and_grad = jax.jit(jax.value_and_grad(mean))
    pca = np.linalg.eigh(data.T @ data)[1][None, :, -2:]
    least, slope = value_and_grad(pca)
    assert np.max(np.abs(slope)) < 1e-12
    random = np.random.default_rng(3).standard_normal((5, 1, 6, 2))
    assert all(value_and_grad(each)[0] > least + 1e-3 for each in random)

    with pytest.raises(ValueError, match="bases"):
        jg.densities.subspace_distance(data, data[:, :1])


@pytest.mark.slow
def test_two_subspaces_are_recovered():
    bases = subspaces()[0]

    @jax.jit
    def descend(params):
        body = lambda _, params: params - 2.0 * jax.grad(mean_loss)(params)
        return jax.lax.fori_loop(0, 400, body, params)

    found = descend(bases + 0.4 * np.random.default_rng(4).standard_normal(bases.shape))
    distance = jg.densities.subspace_distance
    for ours, truth in zip(found, bases, strict=True):
        assert distance(ours, truth) < 1e-5
    assert distance(bases[0], bases[1]) > 0.5
    np.testing.assert_allclose(distance(np.eye(6)[:, :2], 3 * np.eye(6)[:, 2:4]), 2.0)
