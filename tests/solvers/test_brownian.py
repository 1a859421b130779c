"""Noise of one Brownian path: the same whatever the grid, and the strong order that follows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

from jaxgen import grids, processes
from jaxgen.solvers import exponential, sde, solve

NAMES = {"vp": processes.scalar.vp(), "cld": processes.augmented.cld()}
METHODS = {
    "ancestral": sde.ancestral,
    "euler_maruyama": sde.euler_maruyama,
    "sde_dpmpp_2m": sde.sde_dpmpp_2m,
    "stochastic_heun": sde.stochastic_heun,
}


def still(process):
    """A solver that only adds the noise of its steps, of unit variance in the clock."""
    solver = sde.exponential_sde(process, lambda z, t: 0.0 * processes.data_part(process, z))

    def plan(ts):
        rows = solver.plan(ts)
        ones = np.ones_like(rows.noise) if rows.noise.ndim == 1 else 0 * rows.noise + np.eye(2)
        log_snr = processes.log_snr(process, ts)
        passed = np.diff(log_snr) / np.ptp(processes.log_snr(process, np.array([1e-3, 1.0])))
        scale = np.sqrt(passed).reshape((-1,) + (1,) * (ones.ndim - 1))
        return rows._replace(propagate=ones, weights=0 * rows.weights, noise=scale * ones)

    return solver._replace(plan=plan)


@pytest.mark.parametrize("name", ["vp", pytest.param("cld", marks=pytest.mark.slow)])
def test_coarse_increments_are_sums_of_fine_ones(name):
    process = NAMES[name]
    fine = grids.log_snr(process, 48)
    start = jnp.zeros(processes.noise_shape(process, (3,)))

    def path(ts):
        solver = sde.brownian(still(process), process, jax.random.key(3))
        return solve(jax.random.key(0), solver, start, ts, trajectory=True)[0]

    long, short = jax.jit(lambda: (path(fine), path(fine[::12])))()
    # Up to the rounding of stops to the 2^22 places of the path.
    np.testing.assert_allclose(short, long[::12], atol=1e-5)


def test_increments_are_unit_normal_and_independent():
    process, m = NAMES["vp"], 4000
    ts = np.array([1.0, 0.8, 0.3, 0.29, 0.001])

    def run(key):
        solver = sde.brownian(still(process), process, key)
        return solve(jax.random.key(0), solver, jnp.zeros(2), ts, trajectory=True)[0]

    with jax.debug_key_reuse(False):
        paths = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), m)))
    log_snr = processes.log_snr(process, ts)
    steps = np.diff(paths, axis=1) / np.sqrt(np.diff(log_snr) / np.ptp(log_snr))[:, None]
    steps = steps.reshape(m, -1)
    mean, error = textbook.mean_and_error(steps)
    textbook.within(mean, 0.0, error)
    mean, error = textbook.mean_and_error(steps[:, :, None] * steps[:, None, :])
    textbook.within(mean, np.eye(steps.shape[1]), error)


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", list(NAMES))
def test_strong_order(method, name):
    """The path at 10 steps is that at 2,560: the median distance of the ends falls like 1 / n.

    The mean does not yet at these steps, for the few paths that end at another mode.
    """
    process, m, steps, finest = NAMES[name], 64, (10, 40, 160, 640), 2560
    c = 1 if name == "vp" else 2
    start = np.random.default_rng(0).standard_normal((m, *processes.noise_shape(process, (2,))))

    def denoiser(z, t):
        phi, chol = process.transition(t)
        chol = jnp.atleast_2d(chol)
        column = jnp.reshape(phi, chol.shape)[:, 0]
        return textbook.posterior(z.reshape(c, -1), column, chol @ chol.T, *textbook.MIXTURE)[1]

    def run(key, z, ts):
        solver = sde.brownian(METHODS[method](process, denoiser), process, key)
        return solve(jax.random.key(0), solver, z, ts)[0]

    keys, ends = jax.random.split(jax.random.key(2), m), []
    with jax.debug_key_reuse(False):
        for n in (*steps, finest):
            ts = grids.power(process, n)
            ends.append(jax.jit(jax.vmap(lambda key, z, ts=ts: run(key, z, ts)))(keys, start))
    away = [np.linalg.norm((end - ends[-1]).reshape(m, -1), axis=1) for end in ends[:-1]]
    found = np.median(away, 1)
    assert np.all(np.diff(found) < 0), found
    slope = np.log2(found[1] / found[3]) / 4
    assert slope > 0.85, (slope, found)


def test_it_refuses_what_has_no_noise_to_give():
    process, ts = NAMES["vp"], grids.power(NAMES["vp"], 4)
    denoiser, key = lambda z, t: z, jax.random.key(0)
    where = r"^solvers\.sde\.brownian: "
    for silent in (exponential.ddim(process, denoiser), sde.edm_churn(process, denoiser)):
        with pytest.raises(ValueError, match=where + "the solver must be .*; got"):
            sde.brownian(silent, process, key).plan(ts)
    solver = sde.ancestral(process, denoiser)
    with pytest.raises(ValueError, match=where + "stops must be apart .*; got"):
        sde.brownian(solver, process, key).plan(np.array([1.0, 0.5, 0.5 - 1e-9]))
    with pytest.raises(ValueError, match=where + "clock must be one of .*; got"):
        sde.brownian(solver, process, key, clock="rho")
