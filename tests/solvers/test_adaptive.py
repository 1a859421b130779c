"""Adaptive steps: tolerances reached, evaluations counted per example, gradients, exhaustion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from jaxgen import densities, predictions, processes
from jaxgen.solvers import ode, solve

METHODS = ["tsit5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dopri8", "bosh3"))]
STEPS = 512
TOLERANCES = (1e-4, 1e-5, 1e-7)
CASES = np.array(  # speed, first and last time, tolerance
    [(5.0, *ends, tolerance) for tolerance in TOLERANCES for ends in ((0, 2), (2, 0))]
    + [(1.0, 0, 2, 1e-6), (40.0, 0, 2, 1e-4), (4e4, 0, 2, 1e-4)]
)
EASY, HARD, HOPELESS = 6, 7, 8


def swing(x, t):
    """A pendulum of small swings: x = (cos, -sin) of speed times t; the speed rides along."""
    return {"x": x["speed"] * jnp.stack([x["x"][1], -x["x"][0]]), "speed": 0 * x["speed"]}


def solution(speed, t):
    return np.array([np.cos(speed * t), -np.sin(speed * t)])


def run(case, method):
    """(end, info) of one row of CASES, all of it traced."""
    speed, ts, tolerance = case[0], case[1:3], case[3].astype(jnp.float32)
    solver = ode.adaptive(swing, rtol=tolerance, atol=tolerance, method=method, max_steps=STEPS)
    start = {"x": jnp.asarray([1.0, 0.0], case.dtype), "speed": speed}
    x, infos = solve(jax.random.key(0), solver, start, ts)
    return x["x"], infos


@functools.cache
def table(method):
    """All cases at once: (ends [9, 2], evaluations [9])."""
    ends, infos = jax.jit(jax.vmap(lambda case: run(case, method)))(CASES)
    np.testing.assert_array_equal(infos.t[:, 0], CASES[:, 2])
    return np.asarray(ends), np.asarray(infos.evaluations[:, 0])


@pytest.mark.parametrize("method", METHODS)
def test_reaches_its_tolerance_both_ways(method):
    ends, evaluations = table(method)
    for i, (speed, first, last, tolerance) in enumerate(CASES[:HARD]):
        error = np.max(np.abs(ends[i] - solution(speed, last - first)))
        assert error < (50 if method == "bosh3" else 20) * tolerance
    counts = evaluations[:HARD:2]  # at 1e-4, 1e-5, 1e-7
    assert np.all(np.diff(counts[:3]) > 0)
    assert ode.adaptive(swing, method=method).order == {"tsit5": 5, "dopri8": 8, "bosh3": 3}[method]


@pytest.mark.slow
def test_each_example_takes_its_own_steps():
    """vmap gives each example the end, and the count, that jit gives it alone."""
    ends, evaluations = table("tsit5")
    alone = jax.jit(functools.partial(run, method="tsit5"))
    for case in (EASY, HARD):
        end, info = alone(CASES[case])
        np.testing.assert_allclose(end, ends[case], rtol=0, atol=1e-12)
        assert int(info.evaluations[0]) == evaluations[case]
    assert 5 * evaluations[EASY] < evaluations[HARD]


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_each_device_takes_its_own_steps():
    ends, evaluations = table("tsit5")
    spread, infos = jax.pmap(functools.partial(run, method="tsit5"))(CASES[[EASY, HARD]])
    np.testing.assert_allclose(spread, ends[[EASY, HARD]], rtol=0, atol=1e-12)
    assert infos.evaluations[:, 0].tolist() == evaluations[[EASY, HARD]].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_exhausted_steps_give_nan_for_that_example_alone(method):
    ends, evaluations = table(method)
    assert np.all(np.isnan(ends[HOPELESS]))
    assert np.all(np.isfinite(ends[:HOPELESS]))
    assert evaluations[HOPELESS] == STEPS * {"tsit5": 6, "dopri8": 13, "bosh3": 3}[method]


def test_counts_what_it_evaluates():
    """The count of a host callback, which also sees the evaluations that choose the first step."""
    seen = []

    def field(x, t):
        note = lambda t: seen.append(t) or np.float64(0)
        nothing = jax.pure_callback(note, jax.ShapeDtypeStruct((), float), t)
        return -x * (1 + 8 * jnp.sin(9 * t)) + nothing

    solver = ode.adaptive(field, rtol=1e-3, atol=1e-3)
    x, infos = solve(jax.random.key(0), solver, jnp.ones(2), np.array([0.0, 1.0, 3.0]))
    jax.block_until_ready(x)
    total = int(infos.evaluations.sum())
    assert infos.evaluations.shape == (2,)
    assert total <= len(seen) <= total + 6
    assert total >= solver.evaluations(2)


@pytest.mark.slow
def test_gradient_with_respect_to_start_and_field():
    """d cos(speed t) / d speed = -t sin(speed t), through the speed that rides in the state."""

    def end(speed):
        return run(jnp.asarray([0.0, 0.0, 2.0, 1e-9]).at[0].set(speed), "tsit5")[0][0]

    np.testing.assert_allclose(jax.jit(jax.grad(end))(1.3), -2 * np.sin(2.6), rtol=1e-7)


@pytest.mark.slow
def test_a_bfloat16_state_is_kept():
    """Its steps are float32's, its stops are its own."""
    end, infos = jax.jit(lambda case: run(case, "tsit5"))(jnp.asarray(CASES[EASY], jnp.bfloat16))
    assert (end.dtype, infos.t.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(end.astype(float), solution(1.0, 2.0), atol=0.01)


@pytest.mark.usefixtures("x32")
def test_without_x64():
    end, _ = jax.jit(lambda case: run(case, "tsit5"))(jnp.asarray(CASES[EASY], jnp.float32))
    assert end.dtype == jnp.float32
    np.testing.assert_allclose(end, solution(1.0, 2.0), atol=1e-5)


def test_problem_a_as_one_system():
    """Tsit5 at 1e-6 on the 64 starts of problem A: 31 steps, mean error 9.1e-7."""
    process = processes.scalar.vp()
    law = problems.mixture_a()
    field = predictions.as_field(process, densities.denoiser(law, process))
    solver = ode.adaptive(jax.vmap(field, (0, None)), rtol=1e-6, atol=1e-6)
    ts = np.array([1.0, 1e-3])
    ends, infos = jax.jit(lambda x: solve(jax.random.key(0), solver, x, ts))(problems.STARTS)
    truth = problems.integrate(problems.field_vp, problems.STARTS, *ts)
    assert infos.evaluations.tolist() == [31 * 6]
    assert np.mean(np.linalg.norm(ends - truth, axis=-1)) == pytest.approx(9.1e-7, rel=0.02)


@pytest.mark.parametrize(
    "options",
    [{"method": "euler"}, {"rtol": 0.0}, {"atol": -1e-6}, {"rtol": np.nan}, {"max_steps": 0}],
)
def test_refuses_what_makes_no_sense(options):
    with pytest.raises(ValueError, match=r"^solvers\.ode\.adaptive: .* must be .*; got"):
        ode.adaptive(swing, **options)
