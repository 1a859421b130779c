"""Predictor-corrector sampling: its kernels leave the law of z_t alone, or move it as they say."""

import functools

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import norm

from jaxgen import densities, grids, processes
from jaxgen.solvers import sde, solve

LAW = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.04, 0.16]))
PROCESS = processes.scalar.vp()


def idle(process):
    """A solver that stays where it is."""
    solver = sde.ancestral(process, lambda z, t: 0.0 * processes.data_part(process, z))

    def plan(ts):
        rows = solver.plan(ts)
        propagate = np.ones_like(rows.propagate)
        return rows._replace(propagate=propagate, noise=0 * rows.noise, path=None)

    return solver._replace(plan=plan)


def mala(process, step_size):
    law = densities.gaussian_mixture(*LAW)
    return lambda t: blackjax.mala(densities.marginal(law, process, t).logdensity, step_size)


@functools.cache
def moved(step_size):
    """(z [4000], alpha, sigma) after 30 MALA steps from the law of z_t at t = 0.3."""
    m, ts = 4000, np.array([0.31, 0.3])
    alpha, sigma = textbook.SCHEDULES["vp"](ts[-1])
    noise = np.random.default_rng(1).standard_normal((m, 1))
    start = alpha * textbook.draw(m, 2, *LAW) + sigma * noise
    solver = sde.predictor_corrector(idle(PROCESS), mala(PROCESS, step_size), steps=30)
    with jax.debug_key_reuse(False):
        run = jax.jit(jax.vmap(lambda key, z: solve(key, solver, z, ts)[0]))
        end = run(jax.random.split(jax.random.key(0), m), start)
    assert np.mean(np.abs(end - start) > 0.1) > 0.8
    return np.asarray(end)[:, 0], alpha, sigma


def test_a_blackjax_kernel_leaves_the_law_at_the_time_reached():
    end, alpha, sigma = moved(0.1)
    points = np.linspace(-1.2, 1.2, 9)
    weights, means, variances = LAW
    away = (points[:, None] - alpha * means[:, 0]) / np.sqrt(alpha**2 * variances + sigma**2)
    below = end[:, None] < points
    textbook.within(below.mean(0), norm.cdf(away) @ weights, textbook.mean_and_error(below)[1])


@pytest.mark.usefixtures("same_key")
def test_langevin_moves_as_the_paper_says():
    """One step in numbers: Song et al. 2021, algorithm 4, with alpha = 1."""
    predict, t, z = lambda z, t: 0.3 * jnp.sin(z), 0.4, np.array([0.9, -0.4, 1.7])
    solver = sde.predictor_corrector(
        idle(PROCESS), sde.langevin(PROCESS, predict, snr=0.2), steps=1
    )
    key = jax.random.key(5)
    state, _ = solver.step(
        key,
        solver.init(jnp.asarray(z), None),
        jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), solver.plan(np.array([0.5, t]))),
    )
    noise = np.asarray(
        jax.random.normal(jax.random.fold_in(jax.random.split(key)[1], 0), (3,), float)
    )
    alpha, sigma = textbook.SCHEDULES["vp"](t)
    score = -(z - alpha * 0.3 * np.sin(z)) / sigma**2
    size = 2 * (0.2 * np.linalg.norm(noise) / np.linalg.norm(score)) ** 2
    np.testing.assert_allclose(state.x, z + size * score + np.sqrt(2 * size) * noise, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_correctors_mend_a_coarse_sampler(name):
    """Eight Euler-Maruyama steps miss the variance; MALA steps after each of them do not."""
    process = PROCESS if name == "vp" else processes.augmented.cld()
    law = densities.gaussian_mixture(*LAW)
    denoiser, m = densities.denoiser(law, process), 4000
    ts = grids.log_snr(process, 8, t_min=0.1)
    column, cov = textbook.channel(name, ts[0])
    noise = np.random.default_rng(1).standard_normal((m, len(column), 1))
    start = textbook.draw(m, 2, *LAW)[:, None] * column[:, None] + np.linalg.cholesky(cov) @ noise
    start = start.reshape(m, *processes.noise_shape(process, (1,)))
    column, cov = textbook.channel(name, ts[-1])
    mean = LAW[0] @ LAW[1][:, 0]
    truth = column[0] ** 2 * (LAW[0] @ (LAW[2] + LAW[1][:, 0] ** 2) - mean**2) + cov[0, 0]
    found = {}
    with jax.debug_key_reuse(False):
        for steps in (0, 20):
            solver = sde.predictor_corrector(
                sde.euler_maruyama(process, denoiser), mala(process, 0.03), steps=steps
            )
            run = jax.jit(jax.vmap(lambda key, z, solver=solver: solve(key, solver, z, ts)[0]))
            end = run(jax.random.split(jax.random.key(0), m), start).reshape(m, -1)[:, 0]
            found[steps] = abs(np.var(end) - truth)
    assert found[20] < found[0] / 2, found


def test_it_refuses_stages_and_strange_numbers():
    predict = lambda z, t: z
    kernel = sde.langevin(PROCESS, predict)
    stages = sde.predictor_corrector(sde.stochastic_heun(PROCESS, predict), kernel)
    with pytest.raises(
        ValueError, match=r"predictor_corrector: the solver must make one row .*got"
    ):
        stages.plan(grids.power(PROCESS, 4))
    with pytest.raises(ValueError, match=r"langevin: snr must be .*; got"):
        sde.langevin(PROCESS, predict, snr=-1.0)
    with pytest.raises(ValueError, match=r"predictor_corrector: steps must be .*; got"):
        sde.predictor_corrector(sde.ancestral(PROCESS, predict), kernel, steps=1.5)
