"""The loop itself, with a solver that shows what it is handed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.types import Solver


class State(NamedTuple):
    x: Any
    count: Any


class Row(NamedTuple):
    t: Any
    t_next: Any


def plan(ts):
    return Row(ts[:-1], ts[1:])


def walk(key, state, row):
    """A random walk whose steps have the variance of the time they take."""
    noise = jax.random.normal(key, state.x.shape, state.x.dtype)
    x = state.x + jnp.sqrt(jnp.abs(row.t_next - row.t)).astype(state.x.dtype) * noise
    return State(x, state.count + 1), {"count": state.count, "t": row.t}


WALK = Solver(plan, lambda x, ts: State(x, 0), walk, 1, lambda n: n)
TS = np.array([1.0, 0.6, 0.5, 0.1])
X = jnp.asarray([0.5, -1.0])


def key():
    return jax.random.key(3)


def by_hand():
    xs = [X]
    for i in range(3):
        noise = jax.random.normal(jax.random.fold_in(key(), i), X.shape)
        xs.append(xs[-1] + np.sqrt(TS[i] - TS[i + 1]) * noise)
    return jnp.stack(xs)


def test_step_i_draws_from_fold_in_i():
    x, infos = jg.solve(key(), WALK, X, TS)
    np.testing.assert_allclose(x, by_hand()[-1], rtol=1e-14)
    np.testing.assert_array_equal(infos["count"], [0, 1, 2])
    np.testing.assert_array_equal(infos["t"], TS[:-1])


def test_trajectory_has_the_start_and_every_step():
    path, infos = jax.jit(lambda x: jg.solve(key(), WALK, x, TS, trajectory=True))(X)
    np.testing.assert_allclose(path, by_hand(), rtol=1e-14)
    assert infos["t"].shape == (3,)
    still = WALK._replace(step=lambda key, state, row: (state, None))
    tree, _ = jg.solve(key(), still, {"a": X, "b": X[:1]}, TS, trajectory=True)
    np.testing.assert_array_equal(tree["a"], jnp.stack([X] * 4))
    assert tree["b"].shape == (4, 1)


@pytest.mark.parametrize("unroll", [2, 3, True])
def test_unrolling_changes_nothing(unroll):
    np.testing.assert_allclose(
        jg.solve(key(), WALK, X, TS, unroll=unroll)[0], by_hand()[-1], rtol=1e-14
    )


def test_under_vmap_keys_make_the_noise():
    xs = jnp.zeros((4, 2))
    shared = jax.vmap(lambda x: jg.solve(key(), WALK, x, TS)[0])(xs)
    np.testing.assert_array_equal(shared, jnp.broadcast_to(shared[0], (4, 2)))
    keys = jax.random.split(key(), 4)
    split = jax.vmap(lambda key, x: jg.solve(key, WALK, x, TS)[0])(keys, xs)
    assert len({float(x) for x in split.ravel()}) == 8


def test_rows_have_the_dtype_of_the_state_but_at_least_float32():
    seen = []

    def step(key, state, row):
        seen.append(row.t.dtype)
        return state, None

    for dtype in (jnp.float64, jnp.float32, jnp.bfloat16):
        end, _ = jg.solve(key(), WALK._replace(step=step), X.astype(dtype), TS)
        assert end.dtype == dtype
    assert list(dict.fromkeys(seen)) == [jnp.float64, jnp.float32]


def test_rising_and_traced_stops():
    end = jax.jit(lambda ts: jg.solve(key(), WALK, X, ts)[0])
    np.testing.assert_allclose(end(TS), by_hand()[-1], rtol=1e-14)
    assert bool(jnp.isfinite(end(TS[::-1])).all())


@pytest.mark.parametrize(
    ("ts", "message"),
    [
        ([0.5], r"ts must have shape \[n \+ 1\] with at least one step; got shape \(1,\)"),
        (0.5, r"ts must have shape \[n \+ 1\] with at least one step; got shape \(\)"),
        ([[1.0, 0.5]], r"ts must have shape \[n \+ 1\] with at least one step; got shape \(1, 2\)"),
        ([1.0, 0.5, 0.7], "ts must be finite and strictly rising or falling; got"),
        ([1.0, 1.0], "ts must be finite and strictly rising or falling; got"),
        ([1.0, np.nan, 0.1], "ts must be finite and strictly rising or falling; got"),
        ([np.inf, 1.0, 0.1], "ts must be finite and strictly rising or falling; got"),
    ],
)
def test_stops_that_are_none_are_refused(ts, message):
    with pytest.raises(ValueError, match=message):
        jg.solve(key(), WALK, X, np.asarray(ts))
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda x: jg.solve(key(), WALK, x, np.asarray(ts)))(X)


def test_an_exact_start_is_counted():
    build = jg.solvers.exponential.adams_bashforth
    process = jg.processes.scalar.vp()
    for order, steps in ((2, 8), (3, 8), (6, 8), (6, 100)):
        solver = build(process, lambda z, t: z, order=order, start="exact")
        ts = jg.grids.log_snr(process, steps)
        rows = solver.plan(ts)
        assert len(rows.t) == solver.evaluations(steps)
        assert solver.order == order
        np.testing.assert_array_equal(np.intersect1d(rows.t, ts), np.sort(ts[:-1]))
    assert build(process, lambda z, t: z, order=6).evaluations(8) == 8
