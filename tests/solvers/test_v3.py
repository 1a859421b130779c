"""DPM-Solver-v3: exact on Gaussians, of its order elsewhere, and better at few steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential

KEY = jax.random.key(0)
VP, EDM = jg.processes.scalar.vp(), jg.processes.scalar.edm()
SLOW = [("vp", 1), ("edm", 1), ("edm", 3)]
MEAN, VARIANCE = np.array([0.7, -1.1]), np.array([0.25, 0.04])


def pairs(n, weights, means, variances):
    """Data and noise [n, 2]."""
    random = np.random.default_rng(0)
    k = random.choice(len(weights), n, p=weights)
    x0 = means[k] + np.sqrt(variances[k]) * random.normal(size=(n, 2))
    return x0, random.normal(size=(n, 2))


@functools.cache
def gaussian(name, probes=False):
    process = {"vp": VP, "edm": EDM}[name]
    law = jg.densities.gaussian(MEAN, VARIANCE)
    signs = np.sign(np.random.default_rng(0).normal(size=(64, 2))) if probes else None
    denoiser = jg.densities.denoiser(law, process)
    drawn = pairs(64, [1.0], MEAN[None], VARIANCE[None])
    found = exponential.model_statistics(process, denoiser, *drawn, degree=127, probes=signs)
    return process, denoiser, found


@pytest.mark.parametrize(
    ("name", "steps"),
    [("vp", 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_a_gaussian_is_followed_exactly(name, steps):
    """Its flow keeps (x - alpha mean) / deviation."""
    process, denoiser, statistics = gaussian(name)
    ts, x = jg.grids.log_snr(process, steps), np.array([1.3, -0.4])
    (a, s), (b, r) = (process.transition(t) for t in (ts[0], ts[-1]))
    deviation = lambda alpha, sigma: np.sqrt(alpha**2 * VARIANCE + sigma**2)
    exact = b * MEAN + deviation(b, r) * (x - a * MEAN) / deviation(a, s)
    end = lambda make: jg.solve(KEY, make(process, denoiser), jnp.asarray(x), ts)[0]
    for order in {1, min(steps, 3)}:
        v3 = functools.partial(exponential.dpm_solver_v3, statistics=statistics, order=order)
        np.testing.assert_allclose(end(v3), exact, rtol=1e-9)
    assert np.abs(end(exponential.ddim) - exact).max() > 1e-3


@pytest.mark.parametrize("probes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_statistics_of_a_gaussian(probes):
    """p = y - x0hat has the slope l = sigma^2 / (alpha^2 v + sigma^2) in y."""
    _, _, statistics = gaussian("vp", probes)
    low, high = statistics.ends
    lam = np.linspace(low, high, 50)
    exact = -2 * lam[:, None] - np.log(VARIANCE)  # log(l / (1 - l))
    found = np.polynomial.chebyshev.chebval((lam - low) / (high - low) * 2 - 1, statistics.linear)
    np.testing.assert_allclose(found.T, exact, atol=1e-7)


@functools.cache
def mixture():
    process, law, runs = problems.problem("A")
    denoiser = jg.densities.denoiser(law, process)
    drawn = pairs(256, problems.WEIGHTS, problems.MEANS, problems.VARIANCES[:, None])
    found = exponential.model_statistics(process, denoiser, *drawn)
    return process, denoiser, runs, found


def errors(build, steps, direction="noise to data"):
    process, denoiser, runs, _ = mixture()
    solver, run = build(process, denoiser), runs[direction]
    end = problems.runner(solver, max(steps) + 20)
    found = []
    for n in steps:
        ts = problems.grid("A", direction, n)
        found.append(np.linalg.norm(end(run.x, solver.plan(ts))[0] - run.end, axis=1).mean())
    return np.array(found)


@pytest.mark.slow
def test_near_pure_noise_what_is_left_of_the_mean_grows_as_exp_lambda():
    """There f = -x0hat = -mean - e^lambda ..., so that f' = f + mean."""
    statistics = mixture()[3]
    values = lambda c: np.polynomial.chebyshev.chebval(-0.9, c)
    np.testing.assert_allclose(values(statistics.growth), 1, atol=0.03)
    mean = problems.WEIGHTS @ problems.MEANS
    np.testing.assert_allclose(values(statistics.drift), mean, atol=0.03)


@pytest.mark.parametrize(
    ("order", "direction"),
    [
        pytest.param(2, "noise to data", marks=pytest.mark.slow),
        pytest.param(1, "noise to data", marks=pytest.mark.slow),
        pytest.param(2, "middle to noise", marks=pytest.mark.slow),
        pytest.param(3, "noise to data", marks=pytest.mark.slow),
        pytest.param(3, "data to noise", marks=pytest.mark.slow),
        pytest.param(3, "middle to noise", marks=pytest.mark.slow),
    ],
)
def test_order(order, direction):
    options = {"statistics": mixture()[3], "order": order, "start": "exact"}
    build = functools.partial(exponential.dpm_solver_v3, **options)
    steps = (160, 320) if order < 3 else (640, 1280)
    coarse, fine = errors(build, steps, direction)
    assert abs(np.log2(coarse / fine) - order) < 0.2, (coarse, fine)


@pytest.mark.slow
def test_one_answer_however_it_is_run_in_the_dtype_of_x():
    process, denoiser, statistics = gaussian("vp")
    solver = exponential.dpm_solver_v3(process, denoiser, statistics=statistics)
    ts, xs = jg.grids.log_snr(process, 5), jnp.asarray([[1.3, -0.4], [0.2, 0.9]])
    run = lambda x: jg.solve(KEY, solver, x, ts)[0]
    ends = jax.jit(jax.vmap(run))(xs)
    np.testing.assert_allclose(ends[1], run(xs[1]), rtol=1e-12)
    for dtype, tolerance in ((jnp.float32, 1e-4), (jnp.bfloat16, 0.1)):
        end = run(xs[0].astype(dtype))
        assert end.dtype == dtype
        np.testing.assert_allclose(np.asarray(end, float), ends[0], atol=tolerance)
    assert solver.evaluations(5) == 5
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(solver.plan(ts)))


def test_wrong_statistics_are_refused():
    process, denoiser, statistics = gaussian("vp")
    x0, cld = np.zeros((3, 2)), jg.processes.augmented.cld()
    build = exponential.model_statistics
    for arguments, options, message in [
        ((cld, denoiser, x0, x0), {}, "the process must be scalar and its numbers concrete"),
        ((process, denoiser, x0, x0[:2]), {}, r"eps must have the shape of x0 \[n, \*event\]"),
        ((process, denoiser, x0, x0), {"probes": x0[:2]}, "probes must have the shape of x0"),
        ((process, denoiser, x0, x0), {"degree": 128}, "degree must be from 1 to nodes - 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            build(*arguments, **options)
    solver = functools.partial(exponential.dpm_solver_v3, statistics=statistics)
    for options, message in [({"order": 4}, "order must be an integer"), ({"start": 1}, "start")]:
        with pytest.raises(ValueError, match=message):
            solver(process, denoiser, **options)
    with pytest.raises(ValueError, match="the process must be scalar"):
        solver(cld, denoiser)
    with pytest.raises(ValueError, match=r"x must have the event shape of the statistics, \(2,\)"):
        jg.solve(KEY, solver(process, denoiser), jnp.ones(3), np.array([1.0, 0.5, 0.1]))
    with pytest.raises(ValueError, match="lambda must lie in that of the statistics"):
        solver(EDM, denoiser).plan(np.array([80.0, 1.0, 0.002]))
