"""The door solvers.sde: f(process, denoiser) -> Solver of the reverse SDE, on scalars and blocks.

For Gaussian data every step is affine, so means and covariances pass through the table exactly and
weak errors are read without Monte Carlo noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import norm

from jaxgen import grids, processes
from jaxgen.solvers import sde, solve

DOOR = {"ancestral": sde.ancestral, "euler_maruyama": sde.euler_maruyama}
GRIDS = {"vp": grids.power, "ve": grids.power, "edm": grids.log_snr, "cld": grids.power}
MEAN, VARIANCE = 0.7, 0.25
MIXTURE = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.04, 0.16]))


def make(name):
    return getattr(processes.augmented if name == "cld" else processes.scalar, name)()


def moments(name, t, variance=VARIANCE):
    """Mean [c] and covariance [c, c] of z_t, one entry of the event, for Gaussian data."""
    column, cov = textbook.channel(name, float(t))
    return MEAN * column, variance * np.outer(column, column) + cov


def gaussian_denoiser(name, t, variance=VARIANCE):
    """(K [c], k []) with E[x0 | z] = K z + k."""
    column, _ = textbook.channel(name, float(t))
    pull = variance * column @ np.linalg.inv(moments(name, t, variance)[1])
    return pull, MEAN - pull @ column * MEAN


def propagate(solver, name, ts, variance=VARIANCE):
    """Mean [c] and covariance [c, c] at the end of the table, from the exact law at its start."""
    rows = solver.plan(ts)
    mean, cov = moments(name, ts[0], variance)
    c = len(mean)
    for i in range(len(ts) - 1):
        pull, shift = gaussian_denoiser(name, ts[i], variance)
        weight = np.reshape(rows.weight[i], c)
        step = np.reshape(rows.propagate[i], (c, c)) + np.outer(weight, pull)
        noise = np.reshape(rows.noise[i], (c, c))
        mean, cov = step @ mean + weight * shift, step @ cov @ step.T + noise @ noise.T
    return mean, cov


@functools.cache
def errors(method, name, n):
    process = make(name)
    ts = GRIDS[name](process, n)
    mean, cov = propagate(DOOR[method](process, None), name, ts)
    true_mean, true_cov = moments(name, ts[-1])
    return np.max(np.abs(mean - true_mean)), np.max(np.abs(cov - true_cov))


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("method", list(DOOR))
def test_weak_order_on_gaussian_data(method, name):
    n = 512 if name == "ve" else 256
    (mean, cov), (finer_mean, finer_cov) = errors(method, name, n), errors(method, name, 2 * n)
    assert finer_cov < 0.006
    assert np.log2(cov / finer_cov) == pytest.approx(1, abs=0.15)
    if method == "ancestral" or name in {"ve", "edm"}:  # nothing moves the mean
        assert finer_mean < 1e-13
    else:
        assert np.log2(mean / finer_mean) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", list(GRIDS))
def test_ancestral_is_exact_for_known_data(name):
    """With all data at one point x0hat is right, and the posterior steps are exact on any grid."""
    process = make(name)
    ts = GRIDS[name](process, 7)
    mean, cov = propagate(sde.ancestral(process, None), name, ts, variance=0.0)
    true_mean, true_cov = moments(name, ts[-1], variance=0.0)
    np.testing.assert_allclose(mean, true_mean, rtol=1e-12)
    np.testing.assert_allclose(cov, true_cov, rtol=1e-8, atol=1e-12 * np.max(true_cov))


@functools.cache
def sampler(name, law, n, dtype=float):
    """Compiled (keys [m]) -> ends of both methods, z [m, c, 1] from the exact law at t_max."""
    process = make(name)
    ts = GRIDS[name](process, n)
    lead = () if name != "cld" else (2,)

    def denoise(z, t):
        if law == "gaussian":
            table = [gaussian_denoiser(name, s) for s in ts]
            row = jnp.argmin(jnp.abs(jnp.asarray(ts, z.dtype) - t))
            pull, shift = (
                jnp.asarray(np.stack(part), z.dtype)[row] for part in zip(*table, strict=True)
            )
            return jnp.tensordot(pull, z.reshape(-1, 1), 1) + shift
        phi, chol = process.transition(t)
        chol = jnp.atleast_2d(chol)
        column = jnp.reshape(phi, chol.shape)[:, 0]
        return textbook.posterior(z.reshape(-1, 1), column, chol @ chol.T, *MIXTURE)[1]

    def draw(key, start):
        return {
            method: solve(key, f(process, denoise), start.reshape(*lead, 1), ts)[0].reshape(-1)
            for method, f in DOOR.items()
        }

    return jax.jit(jax.vmap(draw)), ts


def starts(name, t, m, data, seed=1):
    """m draws [m, c] of z_t for data [m]."""
    column, cov = textbook.channel(name, float(t))
    noise = np.random.default_rng(seed).standard_normal((m, len(column)))
    return data[:, None] * column + noise @ np.linalg.cholesky(cov).T


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_samples_have_the_moments_of_the_table(name):
    m, n = 4000, 12
    draw, ts = sampler(name, "gaussian", n)
    data = MEAN + np.sqrt(VARIANCE) * np.random.default_rng(2).standard_normal(m)
    ends = draw(jax.random.split(jax.random.key(0), m), starts(name, ts[0], m, data))
    for method, f in DOOR.items():
        mean, cov = propagate(f(make(name), None), name, ts)
        z = np.asarray(ends[method])
        textbook.within(*swap(textbook.mean_and_error(z), mean), method)
        products = (z - mean)[:, :, None] * (z - mean)[:, None, :]
        textbook.within(*swap(textbook.mean_and_error(products), cov), method)


def swap(estimate, truth):
    return estimate[0], truth, estimate[1]


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_marginals_of_a_mixture(name):
    """The distribution function of the samples at nine points, against the mixture's own."""
    m, (weights, means, variances) = 4000, MIXTURE
    draw, ts = sampler(name, "mixture", 300)
    data = textbook.draw(m, 3, *MIXTURE)[:, 0]
    ends = draw(jax.random.split(jax.random.key(4), m), starts(name, ts[0], m, data))
    column, cov = textbook.channel(name, float(ts[-1]))
    points = np.linspace(-1.5, 1.5, 9)
    deviations = np.sqrt(column[0] ** 2 * variances + cov[0, 0])
    truth = norm.cdf((points[:, None] - column[0] * means[:, 0]) / deviations) @ weights
    for method in DOOR:
        below = np.asarray(ends[method])[:, :1] < points
        textbook.within(*swap(textbook.mean_and_error(below), truth), method)


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_eager_jit_vmap_pmap_and_a_loop_agree(name):
    process = make(name)
    ts, keys = GRIDS[name](process, 4), jax.random.split(jax.random.key(5), 4)
    zs = np.random.default_rng(0).standard_normal((4, *processes.noise_shape(process, (3,))))
    denoise = lambda z, t: jnp.tanh(processes.data_part(process, z)) * (1 - t)

    def everything(key, z):
        return {method: solve(key, f(process, denoise), z, ts) for method, f in DOOR.items()}

    mapped = jax.jit(jax.vmap(everything))(keys, zs)
    others = [jax.tree.map(lambda leaf: leaf[1], jax.pmap(everything)(keys, zs))]
    if name == "vp":
        others += [everything(keys[1], zs[1]), jax.jit(everything)(keys[1], zs[1])]
    for method, f in DOOR.items():
        solver = f(process, denoise)
        state, rows = solver.init(jnp.asarray(zs[1]), ts), solver.plan(ts)
        step, weights = jax.jit(solver.step), []
        for i in range(4):
            row = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), rows)
            state, info = step(jax.random.fold_in(keys[1], i), state, row)
            weights.append(info.log_weight)
        assert (solver.order, solver.evaluations(4)) == (1, 4)
        for end, infos in (*(other[method] for other in others), (mapped[method][0][1], None)):
            np.testing.assert_allclose(end, state.x, rtol=1e-10, atol=1e-12, err_msg=method)
            assert infos is None or infos.t.tolist() == ts[1:].tolist()
        reported = mapped[method][1].log_weight
        if method == "ancestral":
            np.testing.assert_allclose(reported[1], weights, rtol=1e-9)
        else:
            assert reported is None
        apart = np.asarray(mapped[method][0])
        assert np.min(np.abs(apart[0] - apart[1])) > 1e-3  # split keys, split noise


def quiet(rows):
    return rows._replace(noise=0 * rows.noise)


def halfway(name):
    """(z, run): a start, and the compiled ends of both methods, with noise or without."""
    process = make(name)
    ts = GRIDS[name](process, 40)
    z = np.random.default_rng(0).standard_normal(processes.noise_shape(process, (3,)))

    def run(z, noisy):
        found = {}
        for method, f in DOOR.items():
            solver = f(process, lambda z, t: 0.5 * processes.data_part(process, z))
            if not noisy:
                solver = solver._replace(plan=lambda ts, plan=solver.plan: quiet(plan(ts)))
            found[method] = solve(jax.random.key(0), solver, z, ts)
        return found

    return z, jax.jit(run, static_argnums=1)


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_dtype_is_kept_and_tables_are_float64s(name):
    """Without the noise, float32 follows the float64 path; bfloat16 stays itself."""
    z, run = halfway(name)
    want = run(jnp.asarray(z), False)
    for method, (still, infos) in run(jnp.asarray(z, jnp.float32), False).items():
        assert still.dtype == infos.t.dtype == jnp.float32
        np.testing.assert_allclose(still, want[method][0], atol=1e-5)
    for noisy, infos in run(jnp.asarray(z, jnp.bfloat16), True).values():
        assert (noisy.dtype, infos.t.dtype) == (jnp.bfloat16, jnp.float32)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((noisy, infos)))


@pytest.mark.usefixtures("x32", "same_key")
def test_without_x64():
    z, run = halfway("cld")
    for noisy, infos in run(jnp.asarray(z, jnp.float32), True).values():
        assert noisy.dtype == jnp.float32
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((noisy, infos)))
    rows = sde.ancestral(make("cld"), None).plan(grids.power(make("cld"), 40))
    assert {leaf.dtype for leaf in jax.tree.leaves(rows)} == {np.dtype(float)}


def test_leaves_of_a_tree_get_noise_of_their_own():
    process = make("vp")

    def ends(start):
        none = lambda z, t: jax.tree.map(jnp.zeros_like, z)
        ts = grids.power(process, 3)
        return [solve(jax.random.key(0), f(process, none), start, ts)[0] for f in DOOR.values()]

    for end in jax.jit(ends)({"a": jnp.ones(4), "b": jnp.ones(4)}):
        assert np.min(np.abs(end["a"] - end["b"])) > 1e-6


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", pytest.param("cld", marks=pytest.mark.slow)])
def test_traced_processes_give_the_same_path_and_its_gradient(name):
    """One compiled function for several numbers; its derivative against central differences."""
    build = processes.scalar.vp if name == "vp" else processes.augmented.cld
    numbers, ts = (0.1, 20.0) if name == "vp" else (4.0, 0.25), GRIDS[name](make(name), 4)
    traces = []

    def ends(number):
        process = build(numbers[0], number)
        z = 0.3 * jnp.ones(processes.noise_shape(process, (2,)))
        denoise = lambda z, t: jnp.sin(processes.data_part(process, z))
        run = lambda f: jnp.sum(solve(jax.random.key(1), f(process, denoise), z, ts)[0])
        return jnp.stack([run(f) for f in DOOR.values()])

    @jax.jit
    def both(number):
        traces.append(None)
        return jax.jvp(ends, (number,), (1.0,))

    h = 1e-5
    low, (middle, slope), high = both(numbers[1] - h)[0], both(numbers[1]), both(numbers[1] + h)[0]
    assert len(traces) == 1
    np.testing.assert_allclose(middle, jax.jit(lambda: ends(numbers[1]))(), rtol=1e-8)
    np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["vp", "cld"])
@pytest.mark.parametrize("method", list(DOOR))
def test_refuses_rising_stops_and_strange_times(method, name):
    process = make(name)
    solver = DOOR[method](process, lambda z, t: z)
    z = jnp.zeros(processes.noise_shape(process, (2,)))
    ts = grids.uniform(process, 4)
    with pytest.raises(ValueError, match=rf"^solvers\.sde\.{method}: stops must fall .*; got"):
        solve(jax.random.key(0), solver, z, ts[::-1])
    for wrong in (np.array([1.5, 0.5]), np.array([1.0, 1e-4])):
        with pytest.raises(
            ValueError, match=rf"^solvers\.sde\.{method}: stops must lie in .*; got"
        ):
            solve(jax.random.key(0), solver, z, wrong)
