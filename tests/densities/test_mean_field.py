"""Exchangeable particles with a mean-field coupling: closed forms, networks, fewer particles."""

import jax
import numpy as np
import pytest
import scipy.stats
import textbook

import jaxgen as jg

MEAN, PULL, COUPLING = np.array([0.5, -1.0]), 0.7, 1.8
VP = jg.processes.scalar.vp()


def covariance(n):
    """[n, n] of one direction, from the matrix of the energy."""
    return np.linalg.inv((PULL + COUPLING) * np.eye(n) - COUPLING / n)


def test_the_law_is_the_gaussian_of_its_energy():
    n = 4
    law = jg.densities.mean_field(n, MEAN, PULL, COUPLING)
    x = np.random.default_rng(0).standard_normal((n, 2))
    truth = sum(
        scipy.stats.multivariate_normal.logpdf(x[:, i], np.full(n, MEAN[i]), covariance(n))
        for i in range(2)
    )
    np.testing.assert_allclose(law.logdensity(x), truth, rtol=1e-12)
    draws = np.asarray(jax.vmap(law.sample)(jax.random.split(jax.random.key(0), 4000)))
    away = draws[..., 0] - MEAN[0]
    mean, error = textbook.mean_and_error(away[:, :, None] * away[:, None])
    textbook.within(mean, covariance(n), error)
    mean, error = textbook.mean_and_error(away)
    textbook.within(mean, 0.0, error)


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_the_denoiser_is_gaussian_conditioning(name):
    n, t = 4, 0.3
    process = VP if name == "vp" else jg.processes.augmented.cld()
    exact = jg.densities.mean_field_denoiser(MEAN, PULL, COUPLING, process)
    column, cov = textbook.channel(name, t)
    z = np.random.default_rng(1).standard_normal((len(column), n, 2))
    data = np.kron(np.outer(column, column), covariance(n)) + np.kron(cov, np.eye(n))
    across = np.kron(column[None], covariance(n))
    found = jax.jit(exact)(z if name == "cld" else z[0], t)
    for i in range(2):
        away = (z[..., i] - column[:, None] * MEAN[i]).reshape(-1)
        truth = MEAN[i] + across @ np.linalg.solve(data, away)
        np.testing.assert_allclose(found[:, i], truth, rtol=1e-10)


def test_tagged_particles_and_entropy_follow_chaos():
    """The covariance of two falls as 1 / n, and nats per particle tend to those of the limit."""
    pairs = [covariance(n)[0, 1] for n in (16, 64)]
    assert pairs[0] / pairs[1] == pytest.approx(4.0)
    for n in (16,):
        law = jg.densities.mean_field(n, MEAN, PULL, COUPLING)
        keys = jax.random.split(jax.random.key(n), 3000)
        draws = jax.jit(jax.vmap(law.sample))(keys)
        logs = jax.jit(jax.vmap(law.logdensity))(draws)
        away = np.asarray(draws)[..., 0] - MEAN[0]
        whole, own = away.sum(1) ** 2, (away**2).sum(1)
        mean, error = textbook.mean_and_error((whole - own) / (n - 1))
        textbook.within(mean, 1 / PULL - 1 / (PULL + COUPLING), error, "n times the covariance")
        mean, error = textbook.mean_and_error(logs / n)
        limit = -(1 + np.log(2 * np.pi / (PULL + COUPLING)))
        textbook.within(mean, limit + np.log(PULL / (PULL + COUPLING)) / n, error)


@pytest.mark.slow
def test_the_reverse_sde_of_many_particles_keeps_their_covariance():
    n, process = 16, jg.processes.scalar.vp(t_min=1e-4)
    denoiser = jg.densities.mean_field_denoiser(MEAN, PULL, COUPLING, process)

    def draw(key):
        key_start, key_path = jax.random.split(key)
        z = jg.prior(process, (n, 2)).sample(key_start)
        solver = jg.solvers.sde.sde_dpmpp_2m(process, denoiser)
        return jg.solve(key_path, solver, z, jg.grids.log_snr(process, 40))[0]

    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(7), 4000))
    away = np.asarray(draws)[..., 0] - MEAN[0]
    mean, error = textbook.mean_and_error((away.sum(1) ** 2 - (away**2).sum(1)) / (n - 1))
    textbook.within(mean, 1 / PULL - 1 / (PULL + COUPLING), error, "n times the covariance")
    mean, error = textbook.mean_and_error(np.mean(away**2, 1))
    textbook.within(mean, covariance(n)[0, 0], error)


def alone(params, x, t):
    return params[0] * x + params[1:3]


def between(params, x, other, t):
    return params[3] * (x - other)


def test_interacting_networks_do_not_count_or_order_particles():
    apply = jax.jit(jg.predictions.interacting(alone, between))
    params, z = np.array([0.3, -0.2, 0.5, 0.8]), np.random.default_rng(5).standard_normal((7, 2))
    order, found = [3, 0, 6, 2, 5, 1, 4], apply(params, z, 0.2)
    truth = 0.3 * z + params[1:3] + 0.8 * (z - z.mean(0))
    np.testing.assert_allclose(found, truth, rtol=1e-12)
    np.testing.assert_allclose(apply(params, z[order], 0.2), found[np.array(order)], rtol=1e-12)


@pytest.mark.slow
def test_a_network_of_64_particles_is_as_good_for_1024():
    """Least squares for one score at one time: its error per particle does not grow with n."""
    t, (alpha, sigma) = 0.15, textbook.SCHEDULES["vp"](0.15)
    apply = jg.predictions.interacting(alone, between)
    score_fn = jg.predictions.as_score(
        VP, jg.densities.mean_field_denoiser(MEAN, PULL, COUPLING, VP)
    )

    def noised(n, count, seed):
        random = np.random.default_rng(seed)
        law = jg.densities.mean_field(n, MEAN, PULL, COUPLING)
        x0 = np.asarray(jax.vmap(law.sample)(jax.random.split(jax.random.key(seed), count)))
        eps = random.standard_normal(x0.shape)
        return alpha * x0 + sigma * eps, -eps / sigma

    z, target = noised(64, 200, 2)
    design = jax.jit(jax.vmap(jax.jacfwd(lambda params, z: apply(params, z, t)), (None, 0)))
    columns = np.asarray(design(np.zeros(4), z)).reshape(-1, 4)
    learned = np.linalg.lstsq(columns, target.reshape(-1), rcond=None)[0]

    def error(n):
        z = noised(n, 4, 3)[0]
        exact = jax.jit(jax.vmap(lambda z: score_fn(z, t)))(z)
        ours = jax.jit(jax.vmap(lambda z: apply(learned, z, t)))(z)
        return np.sqrt(np.mean((np.asarray(ours) - exact) ** 2)), np.sqrt(np.mean(exact**2))

    (small, scale), (large, _) = error(64), error(1024)
    assert large < 1.25 * small
    assert small < 0.05 * scale


@pytest.mark.slow
def test_a_subdivided_loss_sees_fewer_particles_near_noise():
    seen = []

    def apply(params, z, t):
        seen.append(z.shape)
        return params * z

    loss_fn = jg.losses.score.denoising(VP, apply, kind="x0")
    batch_loss = jg.losses.score.subdivided(VP, loss_fn, (8, 4, 2), (0.05, 0.2))
    law = jg.densities.mean_field(8, MEAN, PULL, COUPLING)
    keys = jax.random.split(jax.random.key(0), 400)
    x0 = jax.vmap(law.sample)(jax.random.split(jax.random.key(1), 400 * 4)).reshape(400, 4, 8, 2)
    with jax.debug_key_reuse(False):
        found = jax.jit(jax.vmap(batch_loss, (None, 0, 0)))(0.4, keys, x0)
    assert set(seen) == {(8, 2), (4, 2), (2, 2)}
    # E |a z - x0|^2 of one entry does not depend on the number kept; uniform in time, by sums.
    second = covariance(8)[0, 0] + np.mean(MEAN**2)
    ts = np.linspace(VP.t_min, VP.t_max, 2001)
    alpha, sigma = np.array([textbook.SCHEDULES["vp"](t) for t in ts]).T
    truth = np.mean((0.4 * alpha - 1) ** 2 * second + 0.16 * sigma**2)
    mean, error = textbook.mean_and_error(found)
    textbook.within(mean, truth, error)


def test_errors():
    loss_fn = jg.losses.score.denoising(VP, lambda params, z, t: z, kind="x0")
    subdivided, densities = jg.losses.score.subdivided, jg.densities
    good = subdivided(VP, loss_fn, (4, 2), (0.5,))
    for call, says in [
        (lambda: densities.mean_field(0, MEAN), "n must"),
        (lambda: densities.mean_field(3, 0.5), "mean must"),
        (lambda: densities.mean_field(3, MEAN, -1.0), "pull"),
        (lambda: densities.mean_field_denoiser(MEAN, 1.0, -2.0, VP), "pull"),
        (lambda: subdivided(VP, loss_fn, (4, 4), (0.5,)), "sizes"),
        (lambda: subdivided(VP, loss_fn, (4, 2), (1.5,)), "times"),
        (lambda: good(0.0, jax.random.key(0), np.zeros((2, 3, 2))), "n >= 4"),
        (lambda: good(0.0, jax.random.key(0), np.zeros((2, 4, 2)), 0.3), "t None"),
    ]:
        with pytest.raises(ValueError, match=says):
            call()
