"""The path weights of ancestral sampling: increments from the textbook, and what they are for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import multivariate_normal, norm

from jaxgen import densities, grids, processes
from jaxgen.solvers import sde, solve

MIXTURE = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.09, 0.25]))
STARTS = np.array([0.9, -1.7, 0.2])


def path_of(process, denoiser, z, n):
    """Stops [n + 1], states [n + 1, ...] and increments [n] of one sampled path."""
    ts = grids.power(process, n)
    run = lambda z: solve(
        jax.random.key(0), sde.ancestral(process, denoiser), z, ts, trajectory=True
    )
    path, infos = jax.jit(run)(z)
    return ts, np.asarray(path), np.asarray(infos.log_weight)


@pytest.mark.parametrize("name", ["vp", "edm", "linear_flow"])
def test_increments_of_a_scalar_process(name):
    """log q(z_t | z_s) - log p(z_s | z_t): Ho et al. 2020, equations 2 and 6-7."""
    process = getattr(processes.scalar, name)()
    predict = lambda z, t: 0.4 * np.sin(z) + 0.1
    ts, path, increments = path_of(process, lambda z, t: 0.4 * jnp.sin(z) + 0.1, STARTS, 6)
    for i in range(6):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (
            textbook.SCHEDULES[name](t) for t in ts[i : i + 2]
        )
        ratio = alpha_t / alpha_s
        beta = sigma_t**2 - ratio**2 * sigma_s**2
        forward = norm.logpdf(path[i], ratio * path[i + 1], np.sqrt(beta))
        mean = (
            ratio * sigma_s**2 * path[i] + alpha_s * beta * predict(path[i], ts[i])
        ) / sigma_t**2
        step = norm.logpdf(path[i + 1], mean, sigma_s * np.sqrt(beta) / sigma_t)
        np.testing.assert_allclose(increments[i], np.sum(forward - step), rtol=1e-9, atol=1e-9)


def test_increments_of_blocks():
    """The same from the joint normal law of (z_s, z_t) given x0hat."""
    process = processes.augmented.cld()
    z = np.stack([STARTS, STARTS[::-1]])
    ts, path, increments = path_of(process, lambda z, t: 0.4 * jnp.sin(z[0] - z[1]), z, 6)
    for i in range(6):
        (column_t, cov_t), (column_s, cov_s) = (textbook.cld(float(t)) for t in ts[i : i + 2])
        psi = textbook.propagator_cld(float(ts[i]), float(ts[i + 1]))
        cross = psi @ cov_s  # of z_t with z_s
        guess = 0.4 * np.sin(path[i][0] - path[i][1])
        total = 0.0
        for d in range(3):
            z_t, z_s = path[i][:, d], path[i + 1][:, d]
            forward = multivariate_normal.logpdf(z_t, psi @ z_s, cov_t - cross @ psi.T)
            gain = np.linalg.solve(cov_t, cross).T
            mean = column_s * guess[d] + gain @ (z_t - column_t * guess[d])
            step = multivariate_normal.logpdf(z_s, mean, cov_s - gain @ cross)
            total += forward - step
        np.testing.assert_allclose(increments[i], total, rtol=1e-6, atol=1e-6)


# What a denoiser answers where x0 is right: a + b x0 + c sin(x0).
DENOISERS = {"exact": (0.0, 1.0, 0.0), "shrunk": (0.1, 0.8, 0.0), "bent": (0.0, 0.0, 1.0)}


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_weighted_paths_estimate_one_for_any_denoiser(name):
    """E[exp(sum log_weight) target(z_0) / prior(z_n)] = 1 for a normalised target, right or wrong.

    It starts from N(0, I), which is not the marginal at t_max, and stops early, where an error of
    the denoiser does not yet put all the weight on one path.
    """
    process = processes.augmented.cld() if name == "cld" else processes.scalar.vp()
    law = densities.gaussian_mixture(*MIXTURE)
    exact = densities.denoiser(law, process)
    ts, prior = grids.power(process, 16, t_min=0.15), processes.prior(process, (1,))
    target = densities.marginal(law, process, ts[-1])

    def log_weight(key, answer):
        key_start, key_solve = jax.random.split(key)
        start, (a, b, c) = prior.sample(key_start), answer

        def denoiser(z, t):
            x0 = exact(z, t)
            return a + b * x0 + c * jnp.sin(x0)

        end, infos = solve(key_solve, sde.ancestral(process, denoiser), start, ts)
        return jnp.sum(infos.log_weight) + target.logdensity(end) - prior.logdensity(start)

    with jax.debug_key_reuse(False):
        run = jax.jit(jax.vmap(log_weight, (0, None)))
        keys = jax.random.split(jax.random.key(2), 20_000)
        found = {label: run(keys, answer) for label, answer in DENOISERS.items()}
    spread = {}
    for label, logs in found.items():
        mean, error = textbook.mean_and_error(np.exp(logs))
        textbook.within(mean, 1.0, error, f"{name} {label}")
        spread[label] = float(np.std(logs))
        assert error < 0.01, (label, error)
    assert spread["exact"] < min(spread["shrunk"], spread["bent"])
