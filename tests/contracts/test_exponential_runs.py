"""What every exponential integrator owes besides its order: one answer however it is run."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential

scalar, augmented = jg.processes.scalar, jg.processes.augmented
DOOR = problems.behind(exponential)
PROCESSES = {"vp": scalar.vp(), "cld": augmented.cld()}
# The other solvers share the code of these.
QUICK = {
    "vp": ("ddim", "deis", "dpmpp_2m", "unipc", "edm_heun", "rho_rk", "dpm_solver", "reversible"),
    "cld": ("deis", "unipc"),
}
# The eps = R^-1 (z - Phi_0 x0hat) of a block state multiplies rounding by some 1e4.
NOISE = ("deis", "edm_heun", "rho_rk", "dpm_solver", "dpm_solver_multistep", "ipndm", "lms")
everybody_everywhere = pytest.mark.parametrize(
    ("name", "process"),
    [
        pytest.param(
            name,
            process,
            marks=[pytest.mark.slow] if name not in QUICK[process] else [],
        )
        for name in DOOR
        for process in PROCESSES
    ],
)
STEPS = 5


def amplified(name, process):
    """Constant weights on the noise predictions of a block state do not cancel its rounding."""
    return 100 if (name, process) == ("ipndm", "cld") else 1


def denoiser_for(process):
    """A nonlinear stand-in for a network, cheap to compile; z [*event] or [2, *event]."""
    if process == "vp":
        return lambda z, t: jax.tree.map(
            lambda x: jnp.tanh(x + 0.1) * (1 - t / 2).astype(x.dtype), z
        )
    mix = lambda z, t: jnp.tanh(z[0] - 0.3 * z[1] + 0.1) * (1 - t / 2).astype(z.dtype)
    return lambda z, t: jax.tree.map(lambda leaf: mix(leaf, t), z)


def start(process, event=(3,), n=None, dtype=float):
    shape = jg.processes.noise_shape(PROCESSES[process], event)
    draws = np.random.default_rng(0).normal(size=(*(() if n is None else (n,)), *shape))
    return jnp.asarray(draws, dtype)


def sampler(name, process, steps=STEPS):
    record = PROCESSES[process]
    solver = DOOR[name](record, denoiser_for(process))
    ts = jg.grids.power(record, steps, t_min=0.05)
    return solver, ts, lambda x: jg.solve(jax.random.key(0), solver, x, ts)


@everybody_everywhere
def test_eager_is_jit_is_vmap_is_pmap_is_a_loop(name, process):
    solver, ts, run = sampler(name, process)
    n = len(jax.devices())
    xs = start(process, n=n)
    jitted = jax.jit(run)
    one, infos = jitted(xs[0])
    same = dict(rtol=1e-12 * amplified(name, process), atol=1e-13)
    np.testing.assert_allclose(run(xs[0])[0], one, **same)
    np.testing.assert_allclose(jax.jit(jax.vmap(run))(xs)[0][0], one, **same)
    spread = jax.pmap(lambda x: run(x)[0])(xs)
    np.testing.assert_allclose(spread[n - 1], jitted(xs[n - 1])[0], **same)
    rows, step = solver.plan(ts), jax.jit(lambda state, row: solver.step(None, state, row)[0])
    state = solver.init(xs[0], ts)
    for i in range(len(rows.t)):
        state = step(state, jax.tree.map(lambda leaf, i=i: leaf[i], rows))
    np.testing.assert_allclose(state[0], one, **same)
    assert set(ts[1:]) <= set(infos.t.tolist())
    assert infos.t[-1] == ts[-1]
    assert solver.evaluations(STEPS) == len(rows.t)


@everybody_everywhere
def test_dtype_is_kept(name, process):
    _, _, run = sampler(name, process)
    dtypes = (jnp.float64, jnp.float32, jnp.bfloat16)
    ends = jax.jit(lambda *xs: [run(x)[0] for x in xs])(*(start(process, dtype=d) for d in dtypes))
    for end, dtype in zip(ends, dtypes, strict=True):
        assert end.dtype == dtype
        assert bool(jnp.isfinite(end).all())
    size = np.abs(ends[0]).max()
    np.testing.assert_allclose(ends[1], ends[0], atol=2e-4 * size * amplified(name, process))
    if process == "vp" or name not in NOISE:
        np.testing.assert_allclose(np.asarray(ends[2], float), ends[0], atol=0.2 * size)


@everybody_everywhere
def test_trees(name, process):
    _, _, run = sampler(name, process)
    xs = {"a": start(process, (2,)), "b": (start(process, (2, 2)),)}
    together, alone = jax.jit(lambda xs: (run(xs)[0], jax.tree.map(lambda x: run(x)[0], xs)))(xs)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-13), together, alone
    )


@everybody_everywhere
def test_exact_when_the_prediction_is_constant(name, process):
    """Whatever the steps, a constant x0hat (which is also a constant eps) is followed exactly."""
    record, x0, z = PROCESSES[process], np.array([0.7, -1.4, 0.2]), np.asarray(start(process))
    solver = DOOR[name](record, lambda z, t: jnp.asarray(x0))
    ts = np.array([0.9, 0.5, 0.2, 0.05, 0.01])  # as few as the highest default order takes
    if process == "vp":
        (a, s), (b, r) = (record.transition(t) for t in (ts[0], ts[-1]))
        exact = b * x0 + r * (z - a * x0) / s
    else:

        def field(z, t):
            phi, sigma = problems.transition_cld(t)
            score = -np.linalg.solve(sigma, z - np.outer(phi[:, 0], x0))
            noise = np.stack([0 * x0, problems.FRICTION * score[1]])
            return problems.BETA * (problems.DRIFT_CLD @ z - noise)

        exact = problems.integrate(field, z, ts[0], ts[-1])
    end = jax.jit(lambda z: jg.solve(jax.random.key(0), solver, z, ts)[0])(z)
    np.testing.assert_allclose(end, exact, rtol=1e-9, atol=1e-9)
    if name in ("ddim", "dpmpp_2m", "edm_heun", "dpm_solver", "reversible"):
        leap = jg.solve(jax.random.key(0), solver, jnp.asarray(z), ts[[0, -1]])[0]
        np.testing.assert_allclose(leap, exact, atol=1e-5 if name in NOISE else 1e-9)


@pytest.mark.parametrize("hold", ["x0", "eps"])
def test_one_step_with_a_constant_noise_prediction(hold):
    record, eps, z = PROCESSES["vp"], jnp.asarray([0.3, -0.8, 1.0]), start("vp")

    def denoiser(z, t):
        alpha, sigma = record.transition(t)
        return (z - sigma * eps) / alpha

    (a, s), (b, r) = (record.transition(np.asarray(t)) for t in (0.8, 0.1))
    for clock in ("t", "log_snr", "rho"):
        solver = exponential.adams_bashforth(record, denoiser, order=1, hold=hold, clock=clock)
        end = jg.solve(jax.random.key(0), solver, z, np.array([0.8, 0.1]))[0]
        np.testing.assert_allclose(end, b * (z - s * eps) / a + r * eps, rtol=1e-12)


TRACED = {"vp": (scalar.vp, (0.2, 15.0)), "cld": (augmented.cld, (3.0, 0.3, 0.1))}
VARIANTS = {
    "vp": [
        lambda p, d: exponential.adams_bashforth(p, d, order=3),
        lambda p, d: exponential.deis(p, d, order=3, clock="rho"),
        lambda p, d: exponential.adams_bashforth(p, d, order=4, clock="t", start="exact"),
        exponential.dpmpp_2m,
        lambda p, d: exponential.unipc(p, d, predictor_order=2, hold="eps"),
        exponential.edm_heun,
    ],
    "cld": [lambda p, d: exponential.deis(p, d, order=2)],
    "cld, other clocks": [
        lambda p, d: exponential.adams_bashforth(p, d, order=3),
        lambda p, d: exponential.unipc(p, d, hold="eps"),
        exponential.edm_heun,
    ],
}


@pytest.mark.parametrize(
    "variants",
    ["cld", *(pytest.param(n, marks=pytest.mark.slow) for n in ("vp", "cld, other clocks"))],
)
def test_traced_numbers_give_the_host_tables_and_their_derivatives(variants):
    make, numbers = TRACED[variants.split(",")[0]]
    ts = np.array([0.9, 0.5, 0.2, 0.05])

    def tables(numbers):
        return [build(make(*numbers), None).plan(ts) for build in VARIANTS[variants]]

    direction = tuple(number * (1 + i) / 3 for i, number in enumerate(numbers))
    traced, slopes = jax.jit(lambda n: jax.jvp(tables, (n,), (direction,)))(numbers)
    step = 1e-6
    up, down = (
        tables(tuple(x + sign * step * d for x, d in zip(numbers, direction, strict=True)))
        for sign in (1, -1)
    )
    for ours, exact in zip(jax.tree.leaves(traced), jax.tree.leaves(tables(numbers)), strict=True):
        assert isinstance(exact, np.ndarray)
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-10 * np.abs(exact).max())
    for ours, above, below in zip(*(jax.tree.leaves(x) for x in (slopes, up, down)), strict=True):
        exact = (above - below) / (2 * step)
        np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1e-8 * (1 + np.abs(exact).max()))


def test_reverse_mode_through_grid_table_and_loop():
    make, numbers = TRACED["vp"]
    z, denoiser = start("vp"), denoiser_for("vp")

    @jax.jit
    @jax.value_and_grad
    def loss(inputs):
        numbers, z = inputs
        record = make(*numbers)
        solver, ts = exponential.deis(record, denoiser, order=2), jg.grids.log_snr(record, 4)
        return jnp.sum(jg.solve(jax.random.key(0), solver, z, ts)[0] ** 2)

    slopes, step = loss((numbers, z))[1], 1e-5
    direction = ((0.1, 3.0), jnp.cos(z))
    move = lambda sign: jax.tree.map(lambda x, d: x + sign * step * d, (numbers, z), direction)
    exact = (loss(move(1))[0] - loss(move(-1))[0]) / (2 * step)
    found = sum(
        jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slopes, direction)), strict=True)
    )
    assert float(found) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("process", ["vp", pytest.param("cld", marks=pytest.mark.slow)])
def test_no_retraces(process):
    make, numbers = TRACED[process]
    traces = []

    @jax.jit
    def draw(params, key, weight, record):
        traces.append(1)
        network = denoiser_for(process)
        guided = jg.predictions.guidance.cfg(
            lambda z, t: params["scale"] * network(z, t), network, weight
        )
        key_start, key_solve = jax.random.split(key)
        x = jg.prior(record, (3,)).sample(key_start)
        solver = exponential.deis(record, guided, order=2)
        return jg.solve(key_solve, solver, x, jg.grids.power(record, 4))[0]

    found = [
        draw(
            {"scale": jnp.asarray(scale)},
            jax.random.key(seed),
            weight,
            make(*(x * scale for x in numbers)),
        )
        for seed, (scale, weight) in enumerate([(1.0, 0.0), (1.1, 2.0), (0.9, -1.0)])
    ]
    assert len(traces) == 1
    assert len({float(x.ravel()[0]) for x in found}) == 3


FEW = "order must be at most the number of steps; got order 3,"
OPTIONS = [
    ("deis", {"order": 3}, [1.0, 0.5, 0.1], f"{FEW} 2 steps"),
    ("unipc", {}, [1.0, 0.1], f"unipc: {FEW} 1 steps"),
    ("ddim", {}, [1.5, 0.1], r"stops must lie in \[0.001, 1.0\]; got \[0.1, 1.5\]"),
    (
        "dpmpp_2m",
        {},
        [1.0, 1e-4],
        r"dpmpp_2m: stops must lie in \[0.001, 1.0\]; got \[0.0001, 1.0\]",
    ),
    ("edm_heun", {}, [1.0, 1e-4], "edm_heun: stops must lie in"),
    ("unipc", {}, [1.0, 0.5, 0.2, 1e-4], "unipc: stops must lie in"),
    ("deis", {"clock": "lambda"}, None, "clock must be one of t, log_snr, rho; got 'lambda'"),
    ("deis", {"hold": "v"}, None, "hold must be one of eps, x0; got 'v'"),
    ("deis", {"start": "exactly"}, None, "start must be one of ramp, exact; got 'exactly'"),
    ("adams_bashforth", {"order": 0}, None, "order must be an integer from 1 to 6; got 0"),
    ("adams_bashforth", {"order": 7}, None, "order must be an integer from 1 to 6; got 7"),
    ("adams_bashforth", {"order": 2.0}, None, "order must be an integer from 1 to 6; got 2.0"),
    ("unipc", {"predictor_order": 6}, None, "order must be an integer from 1 to 5; got 6"),
    ("unipc", {"variant": "bh3"}, None, "variant must be one of bh1, bh2; got 'bh3'"),
    ("unipc", {"hold": "v"}, None, "hold must be one of eps, x0; got 'v'"),
    ("unipc", {"start": None}, None, "start must be one of ramp, exact; got None"),
    ("dpm_solver", {"order": 4}, None, "dpm_solver: order must be an integer from 1 to 3; got 4"),
    ("dpm_solver", {"hold": "v"}, None, "dpm_solver: hold must be one of eps, x0; got 'v'"),
    ("dpm_solver", {}, [1.0, 1e-4], "dpm_solver: stops must lie in"),
    ("dpm_solver_multistep", {"order": 1}, None, "order must be an integer from 2 to 3; got 1"),
    ("dpm_solver_multistep", {"compat": 1.5}, None, "compat must be one of False, True; got 1.5"),
    ("dpm_solver_multistep", {}, [1.0, 0.5, 0.1], f"dpm_solver_multistep: {FEW} 2 steps"),
    ("ipndm", {"order": 5}, None, "ipndm: order must be an integer from 1 to 4; got 5"),
    ("ipndm", {"variable": None}, None, "variable must be one of False, True; got None"),
    ("ipndm", {"order": 3}, [1.0, 0.5, 0.1], f"ipndm: {FEW} 2 steps"),
    ("lms", {"order": 7}, None, "order must be an integer from 1 to 6; got 7"),
    ("adams_moulton", {"order": 1}, None, "order must be an integer from 2 to 6; got 1"),
    ("adams_moulton", {"clock": "s"}, None, "clock must be one of t, log_snr, rho; got 's'"),
    ("adams_moulton", {}, [1.0, 0.5, 0.1], f"adams_moulton: {FEW} 2 steps"),
    ("adams_moulton", {"correct": (1, 0)}, None, r"correct must be None, \(\) or \(lo, hi\)"),
    ("reversible", {}, [1.0, 1e-4], "reversible: stops must lie in"),
]


@pytest.mark.parametrize(("name", "options", "ts", "message"), OPTIONS)
def test_wrong_options_are_refused(name, options, ts, message):
    for process in PROCESSES.values():
        with pytest.raises(ValueError, match=message):
            DOOR[name](process, None, **options).plan(np.asarray(ts))


@pytest.mark.parametrize("name", list(DOOR))
def test_wrong_stops_are_refused(name):
    solver = DOOR[name](PROCESSES["vp"], denoiser_for("vp"))
    for ts in ([0.5], [[1.0, 0.5], [0.5, 0.1]], 0.5):
        with pytest.raises(
            ValueError, match=r"ts must have shape \[n \+ 1\] with at least one step"
        ):
            jg.solve(jax.random.key(0), solver, jnp.ones(3), np.asarray(ts))
    for ts in ([1.0, 0.5, 0.5, 0.1], [1.0, 0.1, 0.5, 0.2], [1.0, np.nan, 0.1, 0.01]):
        with pytest.raises(ValueError, match="ts must be finite and strictly rising or falling"):
            jg.solve(jax.random.key(0), solver, jnp.ones(3), np.asarray(ts))


def test_pure_noise_of_linear_flow():
    """At t = 1 alpha is 0 and Phi has no inverse: the data prediction in clock t starts there."""
    record = scalar.linear_flow()
    solver = exponential.adams_bashforth(record, lambda x, t: 0.5 + 0 * x, order=2, clock="t")
    x = jnp.asarray([1.3, -0.4])
    end = jg.solve(jax.random.key(0), solver, x, np.array([1.0, 0.6, 0.1]))[0]
    np.testing.assert_allclose(end, 0.9 * 0.5 + 0.1 * x, rtol=1e-13)
