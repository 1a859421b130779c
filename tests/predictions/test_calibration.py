"""Calibration on exact denoisers with planted bias, and the martingale that scores are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxgen as jg
from jaxgen.predictions import calibration
from jaxgen.processes import augmented, scalar

COVS = [np.diag([0.2, 0.1]) + 0.05, np.diag([0.1, 0.4])]
MIXTURE = jg.densities.gaussian_mixture([0.3, 0.7], [[-1.0, 0.5], [1.2, -0.5]], COVS)
N = 4000
slowly = functools.partial(pytest.param, marks=pytest.mark.slow)
BY_NAME = pytest.mark.parametrize("name", ["vp", slowly("cld"), slowly("anisotropic")])
PROCESSES = {
    "vp": scalar.vp(t_min=0.02),
    "cld": augmented.cld(t_min=0.1),
    "anisotropic": jg.processes.diagonal.anisotropic(
        scalar.vp, 0.1, np.array([20.0, 9.0]), t_min=0.02
    ),
}


def data(seed, n=N):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, 2))
    first = np.array([-1.0, 0.5]) + noise @ np.linalg.cholesky(COVS[0]).T
    return np.where(rng.random((n, 1)) < 0.3, first, [1.2, -0.5] + noise * [0.1**0.5, 0.4**0.5])


def planted(process, t):
    """The error [2] of x0hat at t, of a size that grows with the noise."""
    size = jnp.exp(-jg.processes.mean_log_snr(process, jnp.asarray(t)) / 2)
    return size * jnp.stack([0.3 + 0 * t, -0.2 * t])


def biased(process):
    exact = jg.densities.denoiser(MIXTURE, process)
    return lambda z, t: exact(z, t) + planted(process, t)


@functools.cache
def measured(name):
    process = PROCESSES[name]
    ts = jg.grids.log_snr(process, 24)

    @jax.jit
    def measure(key, x0, known):
        repaired = calibration.calibrate(process, biased(process), known)
        return calibration.time_bias(key, process, repaired, x0, ts)

    nothing = calibration.TimeBias(
        jnp.asarray(ts), jg.processes.mean_log_snr(process, ts), *np.zeros((2, len(ts), 2))
    )
    bias = measure(jax.random.key(1), data(0), nothing)
    return bias, measure(jax.random.key(2), data(1), bias)


@BY_NAME
def test_bias_is_found_and_removed_to_monte_carlo_error(name):
    bias, again = measured(name)
    t, size = np.asarray(bias.t)[:, None], np.exp(-np.asarray(bias.log_snr) / 2)[:, None]
    truth = size * np.concatenate([0.3 + 0 * t, -0.2 * t], 1)
    bias, again = jax.tree.map(np.asarray, (bias, again))
    assert (np.abs(bias.mean - truth) < 5 * bias.standard_error).all()
    left = np.sqrt(bias.standard_error**2 + again.standard_error**2)
    assert (np.abs(again.mean) < 5 * left).all()
    assert np.abs(bias.mean[12, 0]) > 10 * left[12, 0]  # it was there


@pytest.mark.slow
@BY_NAME
def test_the_bound_rises_by_its_gain(name):
    process, (bias, _) = PROCESSES[name], measured(name)
    gain = calibration.bound_gain(process, bias)
    ts = np.linspace(process.t_min, process.t_max, 4001)
    snr = np.exp(np.asarray(jg.processes.log_snr(process, ts))).reshape(len(ts), -1)
    square = np.asarray(jax.vmap(lambda t: planted(process, t))(jnp.asarray(ts))) ** 2
    exact = -scipy.integrate.trapezoid(square, snr, axis=0).sum() / 2
    # The table's own chance error, propagated: d gain = int |b| db d gamma, at most
    at_stops = np.exp(np.asarray(jg.processes.log_snr(process, bias.t))).reshape(len(bias.t), -1)
    error = scipy.integrate.trapezoid(
        2 * np.abs(bias.mean) * bias.standard_error, np.broadcast_to(at_stops, (25, 2)), axis=0
    )
    assert abs(float(gain) - exact) < 5 * error.sum() / 2 + 0.02 * exact
    # The same by the loss itself: the fall of the weighted squared error, in pairs
    repaired = calibration.calibrate(process, biased(process), bias)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    levels = np.asarray(bias.log_snr)
    middle, half = (levels[-1] + levels[0]) / 2, (levels[-1] - levels[0]) / 2
    times = np.interp(middle + half * nodes, levels, np.asarray(bias.t))

    @jax.jit
    def falls(x0, t):
        snr = lambda t: jnp.exp(jg.processes.log_snr(process, t))
        clock = lambda t: jg.processes.mean_log_snr(process, t)
        slope, pace = (jax.jvp(fn, (t,), (jnp.ones_like(t),))[1] for fn in (snr, clock))
        eps = jax.random.normal(jax.random.key(5), (N, *jg.processes.noise_shape(process, (2,))))

        def one(x0, eps):
            z = jg.corrupt(process, x0, eps, t)
            before, after = biased(process)(z, t) - x0, repaired(z, t) - x0
            return jnp.sum(slope / pace * (before**2 - after**2)) / 2

        return jax.vmap(one)(x0, eps)

    x0 = data(3)
    found = np.stack([falls(x0, t) for t in times])
    total = half * weights @ found
    spread = total.std() / np.sqrt(N)
    assert abs(total.mean() - float(gain)) < 5 * (spread + error.sum() / 2) + 0.02 * exact
    assert total.mean() > 5 * spread


@pytest.mark.slow
def test_the_loss_falls_by_half_the_squared_bias():
    process, t = PROCESSES["vp"], 0.3
    alpha, sigma = process.transition(t)
    shift = planted(process, t) * alpha / sigma**2  # of the score
    repaired = calibration.calibrate(process, biased(process), measured("vp")[0])

    def one(x0, eps):
        z, target = jg.corrupt(process, x0, eps, t), -eps / sigma
        losses = [
            jnp.sum((jg.as_score(process, denoiser)(z, t) - target) ** 2) / 2
            for denoiser in (biased(process), repaired)
        ]
        return losses[0] - losses[1]

    falls = jax.jit(jax.vmap(one))(data(4), jax.random.normal(jax.random.key(6), (N, 2)))
    error = float(jnp.std(falls)) / N**0.5
    table = float(jnp.sum(jnp.abs(shift) * measured("vp")[0].standard_error[10]) * alpha / sigma**2)
    expected = float(jnp.sum(shift**2)) / 2
    assert abs(float(jnp.mean(falls)) - expected) < 5 * (error + table)
    assert expected > 10 * error


@functools.cache
def drifts(name):
    process = PROCESSES[name]
    exact = jg.densities.denoiser(MIXTURE, process)
    mean = jnp.array([0.54, -0.2])
    wrong = {
        "exact": exact,
        "biased": biased(process),
        "scaled": lambda z, t: mean + (1 - 0.9 * t) * (exact(z, t) - mean),
    }
    ts = jg.grids.log_snr(process, 8)

    @jax.jit
    def run(x0):
        paths = calibration.forward_paths(jax.random.key(9), process, x0, ts)
        return {
            label: calibration.martingale(process, denoiser, paths, ts)
            for label, denoiser in wrong.items()
        }, paths

    return run(data(5))


@pytest.mark.slow
@BY_NAME
def test_scores_are_martingales(name):
    found, paths = drifts(name)
    sizes = {
        label: (
            float(jnp.max(jnp.abs(drift.mean) / drift.standard_error)),
            float(jnp.max(jnp.abs(drift.slope) / drift.slope_error)),
        )
        for label, drift in found.items()
    }
    assert max(sizes["exact"]) < 5
    assert sizes["biased"][0] > 10
    assert sizes["scaled"][1] > 8
    # The paths are those of the forward process: their last stop is the law at t_max.
    process = PROCESSES[name]
    keys = jax.random.split(jax.random.key(11), N)
    law = jg.densities.marginal(MIXTURE, process, process.t_max)
    other = np.asarray(jax.jit(jax.vmap(law.sample))(keys)).reshape(N, -1)
    ours = np.asarray(paths[:, 0]).reshape(N, -1)
    assert paths.shape[:2] == (N, 9)
    spread = np.sqrt((ours.var(0) + other.var(0)) / N)
    assert (np.abs(ours.mean(0) - other.mean(0)) < 5 * spread).all()
    gap = ours.T @ ours / N - other.T @ other / N
    fourth = ((ours**2).T @ ours**2 + (other**2).T @ other**2) / N
    assert (np.abs(gap) < 5 * np.sqrt(fourth / N)).all()


@pytest.mark.slow
def test_samples_of_the_exact_reverse_chain_are_martingales_too():
    process = PROCESSES["vp"]
    exact, ts = jg.densities.denoiser(MIXTURE, process), jg.grids.log_snr(process, 8)
    parts = jg.densities.posterior_components(MIXTURE, process)
    denoiser, latent = jg.solvers.sde.gaussian_components(parts)
    solver = jg.solvers.sde.soft_mixture(process, denoiser, latent=latent)
    start = jg.densities.marginal(MIXTURE, process, process.t_max)

    def path(key):
        key_start, key_solve = jax.random.split(key)
        return jg.solve(key_solve, solver, start.sample(key_start), ts, trajectory=True)[0]

    @jax.jit
    def run(keys):
        paths = jax.vmap(path)(keys)
        return [calibration.martingale(process, one, paths, ts) for one in (exact, biased(process))]

    found, wrong = run(jax.random.split(jax.random.key(12), N))
    assert float(jnp.max(jnp.abs(found.mean) / found.standard_error)) < 5
    assert float(jnp.max(jnp.abs(found.slope) / found.slope_error)) < 5
    assert float(jnp.max(jnp.abs(wrong.mean) / wrong.standard_error)) > 10


def test_refusals():
    process, exact = PROCESSES["vp"], lambda z, t: z
    with pytest.raises(ValueError, match="must hold two data or more"):
        calibration.time_bias(jax.random.key(0), process, exact, jnp.ones((1, 2)), [0.5, 0.1])
    with pytest.raises(ValueError, match="must have a state for each of ts"):
        calibration.martingale(process, exact, jnp.ones((4, 3, 2)), np.array([0.5, 0.1]))
