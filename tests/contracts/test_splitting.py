"""The door solvers.splitting: f(process, denoiser, *, ...) -> Solver, on blocks only.

Orders are read on Gaussian data, whose laws pass through the tables exactly.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from propagation import MEAN, gaussian_denoiser, moments, propagate

from jaxgen import grids, processes
from jaxgen.solvers import exponential, solve, splitting

DOOR = {
    "conjugate": splitting.conjugate,
    "sscs": splitting.sscs,
    "verlet": splitting.verlet,
}
CLD = processes.augmented.cld()


def errors(method, n, **options):
    ts = grids.power(CLD, n)
    mean, cov = propagate(DOOR[method](CLD, None, **options), "cld", ts)
    true_mean, true_cov = moments("cld", ts[-1])
    return np.max(np.abs(mean - true_mean)), np.max(np.abs(cov - true_cov))


@pytest.mark.parametrize("method", list(DOOR))
def test_order_on_gaussian_data(method):
    (mean, cov), (finer_mean, finer_cov) = errors(method, 128), errors(method, 256)
    assert finer_mean < 0.01
    assert finer_cov < 0.03
    assert np.log2(cov / finer_cov) == pytest.approx(DOOR[method](CLD, None).order, abs=0.1)
    assert np.log2(mean / finer_mean) == pytest.approx(1, abs=0.15)


def test_a_shift_of_nothing_is_the_exponential_integrator():
    ts = grids.power(CLD, 7)
    ours = splitting.conjugate(CLD, None, shift=0.0).plan(ts)
    theirs = exponential.deis(CLD, None, order=1).plan(ts)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13)
    jax.tree.map(close, ours, theirs)


def test_conjugate_is_eulers_method_on_the_conjugate():
    """zhat_b = (1 + h shift) zhat_a + int e^(shift t) dV eps, the integral by fine sums."""
    shift, ts = 0.8, np.array([0.6, 0.4])
    rows = splitting.conjugate(CLD, None, shift=shift).plan(ts)
    fine = np.linspace(*ts, 201)
    parts = exponential.deis(CLD, None, order=1).plan(fine)  # U(b) (V(b) - V(a)) in each
    phi = lambda t: CLD.transition(np.float64(t))[0]
    middles = (fine[1:] + fine[:-1]) / 2
    force = sum(
        np.exp(shift * (s - ts[1])) * phi(ts[1]) @ np.linalg.inv(phi(b)) @ part
        for s, b, part in zip(middles, fine[1:], parts.weights[:, 0], strict=True)
    )
    # R is normalised at the first stop, the same for both.
    np.testing.assert_allclose(rows.weights[0, 0], force, rtol=1e-5)
    h = ts[1] - ts[0]
    step = (1 + shift * h) * np.exp(-shift * h) * phi(ts[1]) @ np.linalg.inv(phi(ts[0]))
    np.testing.assert_allclose(rows.propagate[0], step, rtol=1e-12)


def test_sscs_is_exact_at_equilibrium():
    """Data N(0, 1) and velocities N(0, M) are at equilibrium at all times: nothing is left to the
    score, in three steps.
    """
    process = processes.augmented.cld(start=1.0)
    rows = splitting.sscs(process, None).plan(np.array([1.0, 0.5, 0.2, 0.1]))
    cov = np.diag([1.0, 0.25])
    for i in range(3):
        cov = rows.lift[i] @ cov @ rows.lift[i].T + rows.kick[i] @ rows.kick[i].T
        phi, chol = process.transition(rows.row.t[i])
        column = phi[:, 0]
        pull = column @ np.linalg.inv(np.outer(column, column) + chol @ chol.T)
        step = rows.row.propagate[i] + np.outer(rows.row.weights[i, 0], pull)
        cov = step @ cov @ step.T + rows.row.noise[i] @ rows.row.noise[i].T
        np.testing.assert_allclose(cov, np.diag([1.0, 0.25]), atol=1e-12)


def test_verlet_is_the_textbooks():
    """Velocity Verlet in numbers, in the variables of the paper: forces from F and the score."""
    ts = np.array([0.7, 0.5, 0.35])
    rows = splitting.verlet(CLD, None).plan(ts)
    x, v = 0.3, -0.8
    z = np.array([x, v])
    for i in range(len(ts)):
        pull, shift = gaussian_denoiser("cld", float(ts[i]))
        z = rows.propagate[i] @ z + rows.weights[i, 0] * (pull @ z + shift)

    def force(x, v, t, x0):
        column, cov = moments("cld", t, 0.0)[0] / MEAN, moments("cld", t, 0.0)[1]
        score = -np.linalg.solve(cov, np.array([x, v]) - column * x0)
        return -4 * (x + 1.0 * v / 0.25) - 4 * score[1]  # beta = 4, Gamma = 1, M = 1 / 4

    guess = lambda x, v, t: gaussian_denoiser("cld", t)[0] @ [x, v] + gaussian_denoiser("cld", t)[1]
    x0 = guess(x, v, 0.7)
    for a, b in ((0.7, 0.5), (0.5, 0.35)):
        h = b - a
        v = v + h / 2 * force(x, v, a, x0)
        x = x + h * 4 * v / 0.25
        x0 = guess(x, v, b)
        v = v + h / 2 * force(x, v, b, x0)
    np.testing.assert_allclose(z, [x, v], rtol=1e-8)


@pytest.mark.usefixtures("same_key")
def test_runs_agree_and_keep_their_dtype():
    ts, keys = grids.power(CLD, 5), jax.random.split(jax.random.key(1), 3)
    zs = np.random.default_rng(0).standard_normal((3, 2, 4))
    denoise = lambda z, t: jnp.tanh(z[0] - 0.3 * z[1]) * (1 - t).astype(z.dtype)

    def everything(key, z):
        return {name: solve(key, f(CLD, denoise), z, ts) for name, f in DOOR.items()}

    run = jax.jit(jax.vmap(everything))
    wide, narrow = run(keys, zs), run(keys, jnp.asarray(zs, jnp.float32))
    for name, f in DOOR.items():
        solver = f(CLD, denoise)
        assert solver.evaluations(5) == len(solver.plan(ts).t) == len(wide[name][1].t[0])
        assert wide[name][1].t[0, -1] == ts[-1]
        assert narrow[name][0].dtype == jnp.float32
        assert np.all(np.isfinite(narrow[name][0]))
        if name != "sscs":  # the noise of another dtype is another noise
            np.testing.assert_allclose(narrow[name][0], wide[name][0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", list(DOOR))
def test_refuses_scalars_and_rising_stops(method):
    where = rf"^solvers\.splitting\.{method}: "
    with pytest.raises(ValueError, match=where + "the process must have blocks; got"):
        DOOR[method](processes.scalar.vp(), None)
    with pytest.raises(ValueError, match=where + "stops must fall .*; got"):
        DOOR[method](CLD, None).plan(np.array([0.2, 0.4]))


def test_verlet_wants_one_position_and_one_velocity():
    with pytest.raises(ValueError, match=r"verlet: the process must have two blocks; got 3"):
        splitting.verlet(processes.augmented.hold(), None)
