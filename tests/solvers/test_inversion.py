"""From data to noise and back: by solving both ways, and by a scheme that undoes itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential

KEY = jax.random.key(0)
VP, CLD = jg.processes.scalar.vp(), jg.processes.augmented.cld()
Pair = exponential.Pair


def round_trip(build, steps):
    """The distance after a way from data to noise and back, both along rising and falling stops."""
    process, mixture, runs = problems.problem("A")
    ts = jg.grids.log_snr(process, steps)
    solver = build(process, jg.densities.denoiser(mixture, process))
    there = problems.runner(solver, steps + 16)
    noise = there(runs["data to noise"].x, solver.plan(ts[::-1]))[0]
    back = there(noise, solver.plan(ts))[0]
    return np.linalg.norm(back - runs["data to noise"].x, axis=1).mean()


@pytest.mark.slow
def test_the_round_trip_of_a_sampler_improves_with_its_order():
    first = round_trip(exponential.ddim, 128)
    second = round_trip(exponential.dpmpp_2m, 128)
    fourth = round_trip(functools.partial(exponential.unipc, start="exact"), 128)
    assert first > 1e-3
    assert second < first / 5
    assert fourth < second / 5


def pair_runner(solver, capacity):
    """end(pair, rows) along any plan of up to `capacity` rows, by one compilation."""

    @jax.jit
    def run(pair, rows):
        tabled, ts = solver._replace(plan=lambda ts: rows), np.array([1.0, 0.0])
        return jg.solve(KEY, tabled, pair, ts, trajectory=True)[0]

    def end(pair, rows):
        pad = lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], capacity - len(leaf), 0)])
        path = run(pair, jax.tree.map(pad, rows))
        return jax.tree.map(lambda leaf: leaf[len(rows.t)], path)

    return end


def stand_in(process):
    """A nonlinear stand-in for a network that follows no density."""
    if process is VP:
        return lambda z, t: jnp.tanh(2 * z + 0.1) * (1 - t / 2)
    return lambda z, t: jnp.tanh(z[0] - 0.3 * z[1] + 0.1) * (1 - t / 2)


@pytest.mark.parametrize("name", ["vp", pytest.param("cld", marks=pytest.mark.slow)])
def test_the_reversible_scheme_undoes_itself(name):
    process = {"vp": VP, "cld": CLD}[name]
    solver = exponential.reversible(process, stand_in(process))
    draws = np.random.default_rng(0).normal(size=(2, *jg.processes.noise_shape(process, (3,))))
    start = Pair(*jnp.asarray(draws))  # even two states that have nothing to do with each other
    run = pair_runner(solver, 410)
    for steps in (1, 2, 5, 100, 400):
        ts = jg.grids.log_snr(process, steps, t_min=0.05)
        for stops in (ts, ts[::-1]):
            there = run(start, solver.plan(stops))
            back = run(there, solver.plan(stops[::-1]))
            size = max(np.abs(there.first).max(), 1.0)
            for ours, theirs in zip(back, start, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * size)
            assert np.abs(there.first - start.first).max() > 1e-2
