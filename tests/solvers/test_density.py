"""The log-density that an exponential integrator carries along, against the law it carries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.math import divergence
from jaxgen.solvers import exponential


def mean_along(name, direction, steps, n=None, **options):
    """End points, log p(end) - log p(start) along the flow, and the same from the marginals."""
    process, mixture, runs = problems.problem(name)
    run = runs[direction]
    solver = exponential.adams_bashforth(
        process,
        jg.densities.denoiser(mixture, process),
        divergence=divergence.exact(),
        start="exact",
        **options,
    )
    x, end = run.x[:n], run.end[:n]
    ts = problems.grid(name, direction, steps)
    found, infos = problems.runner(solver, steps + 30)(x, solver.plan(ts))
    log_p = jax.jit(
        jax.vmap(lambda z, t: jg.densities.marginal(mixture, process, t).logdensity(z), (0, None))
    )
    exact = log_p(end, run.times[1]) - log_p(x, run.times[0])
    return found - end, np.asarray(infos.log_density).sum(1), np.asarray(exact)


@functools.cache
def golden_run(hold):
    return mean_along("A", "data to noise", 640, order=6, hold=hold)


@pytest.mark.parametrize("hold", [pytest.param("x0", marks=pytest.mark.slow), "eps"])
def test_log_probability_of_the_golden_end_points(hold):
    """log p at t_min = log p_T where the flow ends, minus the change on the way there."""
    process, mixture, runs = problems.problem("A")
    away, change, exact = golden_run(hold)
    assert np.abs(away).max() < 1e-7
    np.testing.assert_allclose(change, exact, atol=1e-7)
    noise = runs["data to noise"].end + away
    log_p = jax.vmap(jg.densities.marginal(mixture, process, process.t_max).logdensity)(noise)
    assert float(np.mean(log_p - change)) == pytest.approx(problems.MEAN_LOG_PROB, abs=1e-8)


@pytest.mark.parametrize(
    ("hold", "clock"), [("eps", "t"), pytest.param("x0", "log_snr", marks=pytest.mark.slow)]
)
def test_joint_density_of_blocks(hold, clock):
    away, change, exact = mean_along(
        "A-CLD", "middle to noise", 640, 8, order=5, hold=hold, clock=clock
    )
    assert np.abs(away).max() < 1e-6
    np.testing.assert_allclose(change, exact, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("direction", problems.DIRECTIONS)
def test_joint_density_of_blocks_in_every_direction(direction):
    away, change, exact = mean_along("A-CLD", direction, 1280, order=4, hold="eps", clock="t")
    np.testing.assert_allclose(change, exact, atol=1e-5)
    away, change, exact = mean_along("A-CLD", direction, 1280, order=5)
    np.testing.assert_allclose(change, exact, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("direction", problems.DIRECTIONS)
@pytest.mark.parametrize("name", ["A", "A-EDM", "B"])
def test_densities_in_every_direction(name, direction):
    for hold, clock in (("x0", "log_snr"), ("eps", "t"), ("x0", "rho")):
        _, change, exact = mean_along(name, direction, 1280, order=5, hold=hold, clock=clock)
        np.testing.assert_allclose(change, exact, atol=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_density_has_the_order_of_the_state(order):
    steps, found = np.array([160, 320, 640, 1280][max(order - 2, 0) :][:2]), []
    for n in steps:
        _, change, exact = mean_along("A", "data to noise", n, order=order)
        found.append(np.abs(change - exact).mean())
    assert np.log2(found[0] / found[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("name", ["A", "A-CLD"])
def test_hutchinson_has_the_exact_density_on_average(name):
    process, mixture, runs = problems.problem(name)
    x = jnp.asarray(runs["middle to noise"].x[0])
    ts = problems.grid(name, "middle to noise", 6)
    n = 400
    probes = jax.random.rademacher(jax.random.key(1), (n, 2), float)

    def change(estimator):
        solver = exponential.adams_bashforth(
            process,
            jg.densities.denoiser(mixture, process),
            order=2,
            clock="t",
            divergence=estimator,
        )
        return jg.solve(jax.random.key(0), solver, x, ts)[1].log_density.sum(0)

    exact, found = jax.jit(
        lambda probes: (change(divergence.exact()), change(divergence.hutchinson(probes)))
    )(probes)
    assert exact.shape == ()
    assert found.shape == (n,)
    assert abs(float(found.mean() - exact)) < 5 * float(found.std()) / np.sqrt(n) + 1e-12


def test_float32():
    process, mixture, runs = problems.problem("A")
    run = runs["data to noise"]
    ts = jg.grids.log_snr(process, 128)[::-1]
    log_p = jax.vmap(jg.densities.marginal(mixture, process, process.t_max).logdensity)

    def fn(mixture, x):
        solver = exponential.adams_bashforth(
            process,
            jg.densities.denoiser(mixture, process),
            order=5,
            start="exact",
            divergence=divergence.exact(),
        )
        end, infos = jg.solve(jax.random.key(0), solver, x, ts)
        return end, infos.log_density.sum()

    with jax.enable_x64(False):
        small = jax.tree.map(np.float32, mixture)
        end, change = jax.jit(jax.vmap(fn, (None, 0)))(small, run.x.astype(np.float32))
    assert end.dtype == change.dtype == jnp.float32
    found = np.asarray(log_p(np.asarray(end, float))) - np.asarray(change, float)
    assert found.mean() == pytest.approx(problems.MEAN_LOG_PROB, abs=2e-4)
