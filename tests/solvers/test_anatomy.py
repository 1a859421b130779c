"""Errors of single steps and of all of them, where the flow is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.processes import augmented, scalar
from jaxgen.solvers import error_anatomy, exponential

MEAN, VARIANCE = np.array([0.7, -0.3]), 0.25
KEY = 0


def run(process, make, ts, **options):
    law = jg.densities.gaussian(MEAN, np.full(2, VARIANCE))
    denoiser = jg.densities.denoiser(law, process)
    shape = jg.processes.noise_shape(process, (2,))
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    solver = make(process, denoiser)
    path = jg.solve(jax.random.key(KEY), solver, x, ts, trajectory=True)[0]
    with jax.debug_key_reuse(False):
        found = error_anatomy(jax.random.key(KEY), process, denoiser, solver, x, ts, **options)
    return found, np.asarray(path)


def test_normal_data_under_a_scalar_process():
    """The flow from s to t is z -> alpha_t m + (z - alpha_s m) dev_t / dev_s."""
    process = scalar.vp()
    ts = jg.grids.power(process, 6)
    found, path = run(process, exponential.ddim, ts)
    alpha, sigma = process.transition(ts)
    deviation = np.sqrt(alpha**2 * VARIANCE + sigma**2)
    white = (path - alpha[:, None] * MEAN) / deviation[:, None]
    rms = lambda away: np.sqrt(np.mean(away**2, -1))
    modular = rms(np.diff(white, axis=0)) * deviation[1:]
    cumulative = rms(white[1:] - white[0]) * deviation[1:]
    carried = np.concatenate([[0.0], rms(white[1:-1] - white[0]) * deviation[2:]])
    np.testing.assert_allclose(found.modular, modular, rtol=1e-4)
    np.testing.assert_allclose(found.cumulative, cumulative, rtol=1e-4)
    np.testing.assert_allclose(found.carried, carried, rtol=1e-4, atol=1e-12)
    growth = deviation[2:] / deviation[1:-1]
    np.testing.assert_allclose(found.amplification, growth, rtol=1e-4)
    np.testing.assert_array_equal(found.t, ts[1:])


@pytest.mark.parametrize("make", [exponential.unipc, exponential.edm_heun])
def test_errors_add_up_on_blocks(make):
    process = augmented.cld()
    found, _ = run(process, make, jg.grids.power(process, 8))
    assert np.all(found.cumulative <= found.carried + found.modular + 1e-12)
    assert np.all(found.modular > 0)
    assert found.carried[0] == 0


def test_a_good_solver_has_little_error():
    process = scalar.vp()
    make = lambda p, d: exponential.rho_rk(p, d, hold="x0", clock="log_snr")
    found, _ = run(process, make, jg.grids.log_snr(process, 60))
    assert np.max(found.cumulative) < 1e-5


def test_fine_must_be_a_step():
    with pytest.raises(ValueError, match=r"solvers\.error_anatomy: fine must be at least 1; got 0"):
        error_anatomy(jax.random.key(KEY), scalar.vp(), None, None, None, None, fine=0)
