"""What x64 could hide: samplers as a user has them, in float32, with tables in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential

SOLVERS = {
    "dpmpp_2m": (exponential.dpmpp_2m, 512, 1e-4),
    "deis 4": (functools.partial(exponential.deis, order=4), 512, 1e-5),
    "adams_bashforth 4": (functools.partial(exponential.adams_bashforth, order=4), 256, 1e-5),
    "unipc 3": (exponential.unipc, 256, 1e-5),
    "edm_heun": (exponential.edm_heun, 256, 4e-4),
}


@pytest.mark.usefixtures("x32")
@pytest.mark.parametrize("name", list(SOLVERS))
def test_float32_floor_on_problem_a(name):
    process, mixture, runs = problems.problem("A")
    build, steps, tolerance = SOLVERS[name]
    run, small = runs["noise to data"], jax.tree.map(np.float32, mixture)
    solver = build(process, jg.densities.denoiser(small, process))
    ts = jg.grids.log_snr(process, steps)
    tables = jax.tree.leaves(solver.plan(ts))
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 for leaf in tables)
    end = problems.runner(solver, 512)(run.x.astype(np.float32), solver.plan(ts))[0]
    assert end.dtype == np.float32
    assert np.linalg.norm(end - run.end, axis=1).mean() < tolerance


DOOR = {
    "ddim": exponential.ddim,
    "deis": exponential.deis,
    "deis 4": functools.partial(exponential.deis, order=4),
    "adams_bashforth": exponential.adams_bashforth,
    "dpmpp_2m": exponential.dpmpp_2m,
    "unipc": exponential.unipc,
    "unipc eps": functools.partial(exponential.unipc, hold="eps"),
    "edm_heun": exponential.edm_heun,
    "rho_rk": exponential.rho_rk,
    "dpm_solver": exponential.dpm_solver,
    "dpm_solver x0": functools.partial(exponential.dpm_solver, hold="x0"),
    "dpm_solver_multistep": exponential.dpm_solver_multistep,
    "ipndm": exponential.ipndm,
    "lms": exponential.lms,
    "adams_moulton": exponential.adams_moulton,
    "reversible": exponential.reversible,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(DOOR))
def test_what_float32_costs_on_problem_a(name):
    """The same table of 96 evaluations on the grid t^2, in float32 and in float64."""
    process, mixture, runs = problems.problem("A")
    x, ends = runs["noise to data"].x, []
    for dtype in (np.float32, np.float64):
        law = jax.tree.map(dtype, mixture)
        solver = DOOR[name](process, jg.densities.denoiser(law, process))
        steps = 96 // (solver.evaluations(2) - solver.evaluations(1))
        rows = solver.plan(jg.grids.power(process, steps))
        ends.append(problems.runner(solver, len(rows.t))(x.astype(dtype), rows)[0])
    assert [end.dtype for end in ends] == [np.float32, np.float64]
    assert np.linalg.norm(ends[0] - ends[1], axis=1).mean() < 2e-6


@pytest.mark.usefixtures("x32")
@pytest.mark.parametrize("hold", ["x0", "eps"])
def test_float32_on_blocks(hold):
    process, mixture, runs = problems.problem("A-CLD")
    run, small = runs["noise to data"], jax.tree.map(np.float32, mixture)
    denoiser = jg.densities.denoiser(small, process)
    solver = exponential.adams_bashforth(process, denoiser, order=3, hold=hold, clock="t")
    ts = jg.grids.log_snr(process, 320)
    end = problems.runner(solver, 320)(run.x.astype(np.float32), solver.plan(ts))[0]
    # Both hold 1e-3 at this length in float64.
    assert np.linalg.norm((end - run.end).reshape(16, -1), axis=1).mean() < 2e-3


@pytest.mark.usefixtures("x32")
def test_jitted_draw_is_float32_outside_and_float64_in_its_tables():
    process, seen = jg.processes.scalar.vp(), []

    @jax.jit
    def draw(scale, key):
        key_start, key_solve = jax.random.split(key)
        solver = exponential.deis(process, lambda x, t: scale * x)
        ts = jg.grids.power(process, 6)
        seen.extend(jax.tree.leaves(solver.plan(ts)))
        x = jg.prior(process, (2,)).sample(key_start)
        return jg.solve(key_solve, solver, x, ts)[0]

    assert draw(jnp.float32(0.3), jax.random.key(0)).dtype == jnp.float32
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 for leaf in seen)


@pytest.mark.usefixtures("x32")
def test_traced_numbers_in_float32():
    x = jnp.asarray([0.7, -1.2])

    def end(beta_max):
        process = jg.processes.scalar.vp(0.1, beta_max)
        solver = exponential.adams_bashforth(process, lambda x, t: jnp.tanh(x))
        return jg.solve(jax.random.key(0), solver, x, jg.grids.log_snr(process, 8))[0]

    traced = jax.jit(end)(15.0)
    assert traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, end(15.0), rtol=1e-4)
