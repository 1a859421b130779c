"""Learned variances on normal data, where the best reverse variance is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import textbook

from jaxgen import densities, grids, likelihoods, processes, solve
from jaxgen.losses import score
from jaxgen.solvers import sde
from jaxgen.training import trainer

VARIANCE, STEPS, D = 0.25, 10, 4
PROCESS = processes.scalar.vp()
TS = grids.uniform(PROCESS, 1000)[:: 1000 // STEPS]  # a strided subsequence
LEVELS = np.array([float(processes.log_snr(PROCESS, np.float64(t))) for t in TS])
POSTERIOR = 1 / (1 / VARIANCE + np.exp(LEVELS[:-1]))  # Var(x0 | z_t)


def best():
    """v [n] of the best Gaussian step, whose variance is 1 + (gap of gamma) Var(x0 | z_t)."""
    gap = processes.snr_gap(LEVELS[:-1], LEVELS[1:])
    return np.log1p(gap * POSTERIOR) / processes.log_widening(LEVELS[:-1], LEVELS[1:])


def divergence(fraction):
    """The mean divergence [n] of each step, for one entry."""
    return processes.reverse_kl(LEVELS[:-1], LEVELS[1:], POSTERIOR, fraction)


def network(params, z, t):
    """The exact x0hat, and the fraction of the step that leaves t."""
    gamma = jnp.exp(processes.log_snr(PROCESS, t))
    alpha = PROCESS.transition(t)[0]
    v = params[jnp.argmin(jnp.abs(jnp.asarray(TS[:-1]) - t))]
    return gamma / (1 / VARIANCE + gamma) * z / alpha, jnp.full_like(z, v)


def test_best_variance_minimises_the_bound_and_lies_between_the_fixed_choices():
    for i, v in enumerate(best()):
        at = lambda v, i=i: divergence(np.full(STEPS, v))[i]
        assert scipy.optimize.minimize_scalar(at, (-1.0, 2.0)).x == pytest.approx(v, abs=1e-5)
    assert np.all((best() > 0) & (best() < 1))
    assert np.sum(divergence(best())) < min(np.sum(divergence(v)) for v in (0.0, 1.0)) - 0.05


@pytest.mark.slow
def test_gradients_reach_the_variance_through_the_bound_alone():
    """The mean's gradient is that of the simple loss, and v's that of `reverse_kl`."""
    x0, key = jnp.asarray([0.3, -0.6, 0.1, 0.8]), jax.random.key(3)
    apply = lambda params, z, t: (params[0] * z, jnp.full_like(z, params[1]))
    loss_fn = score.hybrid(PROCESS, apply, kind="x0", ts=TS, weight=0.5)
    plain = score.denoising(PROCESS, lambda a, z, t: a * z, kind="x0")

    @jax.jit
    def gradients(params):
        simple = jax.grad(lambda a: plain(a, key, x0, TS[4]))(params[0])
        return jax.grad(loss_fn)(params, key, x0, TS[4] + 1e-4), simple

    with jax.debug_key_reuse(False):
        (mean, v), simple = gradients(jnp.asarray([0.7, 0.4]))
        eps = jax.random.normal(jax.random.split(key)[1], x0.shape)
    alpha, sigma = textbook.SCHEDULES["vp"](TS[4])
    square = (x0 - 0.7 * (alpha * x0 + sigma * eps)) ** 2
    of_v = lambda v: np.mean(processes.reverse_kl(*LEVELS[4:6], np.asarray(square), v))
    assert float(mean) == pytest.approx(float(simple), rel=1e-9)
    slope = 0.5 * STEPS * (of_v(0.4 + 1e-5) - of_v(0.4 - 1e-5)) / 2e-5
    assert float(v) == pytest.approx(slope, rel=1e-6)
    law = np.asarray(loss_fn.time(np.linspace(0, 1, 21)[:-1]))
    np.testing.assert_allclose(law[::2], TS[:-1])


@functools.cache
def learned():
    loss_fn = score.hybrid(PROCESS, network, kind="x0", ts=TS)
    schedule = optax.cosine_decay_schedule(0.05, 1500)
    learner = trainer(loss_fn, optax.adam(schedule), time=loss_fn.time)

    def step(state, key):
        key_data, key_step = jax.random.split(key)
        x0 = VARIANCE**0.5 * jax.random.normal(key_data, (512, D))
        return learner.step(key_step, state, x0)[0], None

    with jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(0), 1500)
        state = jax.jit(lambda s: jax.lax.scan(step, s, keys)[0])(learner.init(jnp.full(10, 0.5)))
    return np.asarray(state.params)


@pytest.mark.slow
def test_the_best_variances_are_learned_and_beat_both_fixed_choices():
    """To 2 % of the variance of every step; the bound of 10 steps is the best by many errors."""
    gap = processes.snr_gap(LEVELS[:-1], LEVELS[1:])
    wide = processes.log_widening(LEVELS[:-1], LEVELS[1:])
    np.testing.assert_allclose(np.exp(learned() * wide), 1 + gap * POSTERIOR, rtol=0.02)
    denoiser = lambda z, t: network(jnp.zeros(STEPS), z, t)[0]
    v = jnp.asarray(learned())
    choices = [0.0, 1.0, lambda z, t: network(v, z, t)[1]]
    x = jnp.asarray(VARIANCE**0.5 * np.random.default_rng(0).standard_normal((2000, D)))
    keys, nll = jax.random.split(jax.random.key(1), 2000), []
    with jax.debug_key_reuse(False):
        for variance in choices:
            log_prob = likelihoods.elbo(PROCESS, denoiser, TS, variance=variance)
            nll.append(-np.asarray(jax.jit(jax.vmap(log_prob))(keys, x)) / D)
    for fixed in nll[:2]:
        gain, error = textbook.mean_and_error(fixed - nll[2])
        assert gain > 5 * error, (gain, error)
    for values, fraction in zip(nll, (0.0, 1.0, learned()), strict=True):
        mean, error = textbook.mean_and_error(values)
        entropy = np.log(2 * np.pi * np.e * VARIANCE) / 2
        excess = (
            np.sum(divergence(fraction))
            - np.log1p(np.exp(LEVELS[[0, -1]]) * VARIANCE) @ [-1, 1] / 2
        )
        assert mean - entropy == pytest.approx(excess, abs=5 * error + 2e-3)


def covariance_of(row, i):
    """Of the noise of one step, from its row with learned variances of v = 0.6."""
    noise, e = np.atleast_2d(row.table.noise[i]), np.atleast_1d(row.direction[i])
    grown = np.eye(len(e)) + np.expm1(0.6 * row.log_widening[i]) * np.outer(e, e)
    return noise @ grown @ noise.T


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_steps_of_the_sampler(name):
    """Fixed and learned fractions make one covariance; v = 1 is the posterior for normal data."""
    door = processes.augmented if name == "cld" else processes.scalar
    process = getattr(door, name)()
    ts = grids.uniform(process, 6)
    learned, fixed, whole = (
        sde.ancestral(process, None, variance=v).plan(ts) for v in (lambda z, t: 0.6, 0.6, 1.0)
    )
    for i in range(6):
        noise = np.atleast_2d(fixed.noise[i])
        np.testing.assert_allclose(noise @ noise.T, covariance_of(learned, i), rtol=1e-8)
        t, s = float(ts[i]), float(ts[i + 1])
        (column_t, cov_t), (column_s, cov_s) = (textbook.channel(name, u) for u in (t, s))
        psi = textbook.propagator_cld(t, s) if name == "cld" else column_t[:, None] / column_s
        joint_t, joint_s = (np.outer(c, c) + v for c, v in ((column_t, cov_t), (column_s, cov_s)))
        cross = joint_s @ psi.T
        truth = joint_s - cross @ np.linalg.solve(joint_t, cross.T)
        noise = np.atleast_2d(whole.noise[i])
        np.testing.assert_allclose(noise @ noise.T, truth, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("fraction", ["fixed", "learned"])
def test_sampled_variance_of_normal_data(fraction):
    """Ten steps with v = 0.6 make the variance that the linear recursion says: 5 errors."""
    variance = 0.6 if fraction == "fixed" else lambda z, t: 0.6 + 0 * z
    denoiser = densities.denoiser(densities.gaussian([0.0], VARIANCE), PROCESS)
    solver = sde.ancestral(PROCESS, denoiser, variance=variance)
    rows, held = sde.ancestral(PROCESS, None, variance=0.6).plan(TS), 1.0
    for i in range(STEPS):
        alpha = textbook.SCHEDULES["vp"](TS[i])[0]
        shrink = np.exp(LEVELS[i]) * POSTERIOR[i] / alpha
        held = (rows.propagate[i] + rows.weights[i, 0] * shrink) ** 2 * held + rows.noise[i] ** 2
    keys = jax.random.split(jax.random.key(2), 20_000)
    start = np.random.default_rng(1).standard_normal((20_000, 1))
    with jax.debug_key_reuse(False):
        run = jax.jit(jax.vmap(lambda key, z: solve(key, solver, z, TS)[0]))
        found = np.asarray(run(keys, start))[:, 0]
    textbook.within(np.var(found), held, held * (2 / 20_000) ** 0.5)
