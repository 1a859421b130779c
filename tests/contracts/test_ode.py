"""The door solvers.ode: f(field, ...) -> Solver, for x [*event] or any tree of arrays.

`ode.adaptive` has no fixed order: tests/solvers/test_adaptive.py asks the rest of it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities, predictions, processes
from jaxgen.solvers import ode, solve

DOOR = {"euler": ode.euler, "heun": ode.heun, "rk4": ode.rk4}
ORDER = {"euler": 1, "heun": 2, "rk4": 4}  # and as many evaluations a step
STARTS = np.array([0.8, -2.0, 0.6])


def riccati(x, t):
    """dx/dt = x^2 cos t, solved from x(0) = a by 1 / (1/a - sin t), entry by entry."""
    return jax.tree.map(lambda leaf: leaf**2 * jnp.cos(t).astype(leaf.dtype), x)


def solution(start, t):
    return 1 / (1 / start - np.sin(t))


MEAN, VARIANCE = 0.7, 0.25


@functools.cache
def flow():
    """The probability flow of data N(0.7, 0.25) in one dimension under VP."""
    law, process = densities.gaussian(np.full(1, MEAN), VARIANCE), processes.scalar.vp()
    return predictions.as_field(process, densities.denoiser(law, process))


def carried(x, s, t):
    """The closed form of that flow from time s to t: quantiles go to quantiles."""

    def moments(t):
        clock = 0.1 * t + 19.9 * t**2 / 2
        return np.exp(-clock / 2) * MEAN, np.sqrt(np.exp(-clock) * VARIANCE - np.expm1(-clock))

    (mean_s, std_s), (mean_t, std_t) = moments(s), moments(t)
    return mean_t + (x - mean_s) / std_s * std_t


@functools.cache
def runner(field):
    """The ends of all methods from x along ts, compiled once for each number of steps."""
    run = lambda f, x, ts: solve(jax.random.key(0), f(field), x, ts)[0]
    return jax.jit(lambda x, ts: {name: run(f, x, ts) for name, f in DOOR.items()})


def slopes(field, x, truth, first, last, n):
    """The measured order of each method from n and 2 n steps, between first and last."""

    def errors(n):
        ends = runner(field)(x, np.linspace(first, last, n + 1))
        return {name: np.max(np.abs(end - truth)) for name, end in ends.items()}

    coarse, fine = errors(n), errors(2 * n)
    return {name: np.log2(coarse[name] / fine[name]) for name in DOOR}


@pytest.mark.parametrize(("first", "last"), [(0.0, 1.0), (1.0, 0.0)])
def test_order_on_a_nonlinear_equation(first, last):
    found = slopes(riccati, solution(STARTS, first), solution(STARTS, last), first, last, 64)
    assert found == pytest.approx(ORDER, abs=0.15)


@pytest.mark.parametrize(("first", "last"), [(1.0, 1e-3), (1e-3, 1.0), (0.4, 1e-3)])
def test_order_on_a_probability_flow(first, last):
    x = carried(np.array([1.3]), 1.0, first)
    found = slopes(flow(), x, carried(x, first, last), first, last, 128)
    assert found == pytest.approx(ORDER, abs=0.15)


def test_states_its_order_and_evaluations():
    for name, method in DOOR.items():
        seen = []
        solver = method(lambda x, t, seen=seen: seen.append(t) or x)
        rows = solver.plan(np.linspace(0.0, 1.0, 4))
        row = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), rows)
        _, info = solver.step(jax.random.key(0), solver.init(STARTS, None), row)
        assert (solver.order, solver.evaluations(3)) == (ORDER[name], 3 * ORDER[name])
        assert len(seen) == ORDER[name] == int(info.evaluations)


def everything(x, ts):
    """Every method of the door from one x, compiled together."""
    return {name: solve(jax.random.key(3), f(riccati), x, ts) for name, f in DOOR.items()}


@pytest.mark.usefixtures("same_key")
def test_eager_jit_vmap_pmap_and_a_loop_agree():
    ts, key = np.linspace(0.0, 1.0, 5), jax.random.key(3)
    xs = np.stack([STARTS, -STARTS, STARTS / 2, STARTS + 0.1])
    mapped = jax.jit(jax.vmap(everything, (0, None)))(xs, ts)
    spread = jax.pmap(everything, in_axes=(0, None))(xs, jnp.asarray(ts))
    once, eager = jax.jit(everything)(xs[0], ts), everything(xs[0], ts)
    for name, method in DOOR.items():
        solver = method(riccati)
        state, rows = solver.init(jnp.asarray(xs[0]), ts), solver.plan(jnp.asarray(ts))
        for i in range(4):
            row = jax.tree.map(lambda leaf, i=i: leaf[i], rows)
            state, _ = solver.step(jax.random.fold_in(key, i), state, row)
        end, infos = eager[name]
        for other in (once[name][0], mapped[name][0][0], spread[name][0][0], state.x):
            np.testing.assert_allclose(other, end, rtol=1e-13, err_msg=name)
        np.testing.assert_allclose(mapped[name][0], spread[name][0], rtol=1e-13, err_msg=name)
        assert infos.t.tolist() == ts[1:].tolist()
        assert infos.evaluations.tolist() == [ORDER[name]] * 4


def test_one_trace_for_new_starts_and_stops():
    traces = []

    @jax.jit
    def run(x, ts):
        traces.append(None)
        return solve(jax.random.key(0), ode.heun(riccati), x, ts)[0]

    for last in (0.5, 1.0):
        got = run(STARTS * last, np.linspace(0.0, last, 33))
        np.testing.assert_allclose(got, solution(STARTS * last, last), rtol=2e-3)
    assert len(traces) == 1


@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.08)])
def test_dtype_is_kept(dtype, rtol):
    ts = np.linspace(0.0, 1.0, 65)
    for name, (x, infos) in jax.jit(everything)(jnp.asarray(STARTS, dtype), ts).items():
        assert (x.dtype, infos.t.dtype) == (dtype, jnp.float32), name
        loose = {"euler": 0.1, "heun": 1e-3}.get(name, 0) + rtol
        np.testing.assert_allclose(x.astype(float), solution(STARTS, 1.0), rtol=loose, err_msg=name)


def test_works_on_trees():
    tree = {"a": jnp.asarray(STARTS[:2]), "b": (jnp.asarray(STARTS[2]),)}
    ts = np.linspace(0.0, 1.0, 9)
    coupled = lambda x, t: {"a": x["b"][0] * jnp.cos(t) * x["a"], "b": (jnp.sum(x["a"]) * t,)}

    def flat(x, t):
        slope = coupled({"a": x[:2], "b": (x[2],)}, t)
        return jnp.append(slope["a"], slope["b"][0])

    @jax.jit
    def both(tree, x, ts):
        run = lambda f, field, x: solve(jax.random.key(0), f(field), x, ts, trajectory=True)[0]
        return {name: (run(f, coupled, tree), run(f, flat, x)) for name, f in DOOR.items()}

    for name, (path, line) in both(tree, STARTS, ts).items():
        assert jax.tree.structure(path) == jax.tree.structure(tree)
        joined = np.concatenate([path["a"], path["b"][0][:, None]], 1)
        np.testing.assert_allclose(joined, line, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_array_equal(line[0], STARTS)
        assert line.shape == (9, 3)


def test_trajectory_passes_through_the_solution():
    ts = np.linspace(0.0, 1.0, 9)
    path, infos = solve(jax.random.key(0), ode.rk4(riccati), STARTS, ts, trajectory=True)
    np.testing.assert_allclose(path, solution(STARTS, ts[:, None]), rtol=1e-4)
    np.testing.assert_array_equal(infos.t, ts[1:])


def test_gradients_with_respect_to_numbers_in_the_field():
    """dx/dt = theta x: x(1) = exp(theta) x(0), whose derivative is itself."""

    def end(theta):
        solver = ode.rk4(lambda x, t: theta * x)
        return solve(jax.random.key(0), solver, jnp.ones(()), np.linspace(0, 1, 65))[0]

    np.testing.assert_allclose(jax.jit(jax.grad(end))(-0.7), np.exp(-0.7), rtol=1e-8)


@pytest.mark.usefixtures("x32")
def test_without_x64():
    end, infos = jax.jit(everything)(jnp.asarray(STARTS, jnp.float32), np.linspace(0, 1, 65))["rk4"]
    assert end.dtype == infos.t.dtype == jnp.float32
    np.testing.assert_allclose(end, solution(STARTS, 1.0), rtol=1e-6)


@pytest.mark.parametrize(
    "ts", [np.array([1.0]), np.array([0.0, 1.0, 1.0]), np.array([1.0, np.nan])]
)
def test_refuses_stops_that_are_no_grid(ts):
    with pytest.raises(ValueError, match=r"^solvers\.solve: ts must .*; got"):
        solve(jax.random.key(0), ode.euler(riccati), STARTS, ts)
