"""General tables, and samplers as schedules of choices: they are the named solvers, in numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential

VP, CLD = jg.processes.scalar.vp(), jg.processes.augmented.cld()
PROCESSES = {"vp": VP, "cld": CLD}
STEPS = 6
STOPS = {
    "vp": np.array([0.95, 0.7, 0.5, 0.3, 0.12, 0.05, 0.004]),
    "cld": np.array([0.9, 0.75, 0.5, 0.3, 0.15, 0.08, 0.04]),
}
NAMED = {
    "ddim": ("ddim", {}),
    "deis": ("deis", {"order": 4}),
    "deis rho": ("deis", {"order": 3, "clock": "rho"}),
    "ab 3": ("adams_bashforth", {"order": 3}),
    "ab 4 eps": ("adams_bashforth", {"order": 4, "hold": "eps"}),
    "ab 2 t": ("adams_bashforth", {"order": 2, "clock": "t"}),
    "dpmpp_2m": ("dpmpp_2m", {}),
}
for p in (1, 2, 3, 4):
    for variant in ("bh1", "bh2"):
        for hold in ("x0", "eps"):
            options = {"predictor_order": p, "variant": variant, "hold": hold}
            NAMED[f"unipc {p} {variant} {hold}"] = ("unipc", options)


def start(process):
    shape = jg.processes.noise_shape(PROCESSES[process], (3,))
    return np.random.default_rng(0).normal(size=shape)


def denoise(z, t):
    if z.ndim == 2:
        z = z[0] - 0.3 * z[1]
    return np.tanh(z + 0.1) * (1 - t / 2)


def by(coefficient, z):
    """A coefficient on z [*event] or [c, *event]."""
    if np.ndim(coefficient) == 1:
        return coefficient[:, None] * z
    return coefficient @ z if np.ndim(coefficient) == 2 else coefficient * z


def run_table(rows, z):
    """The engine of `TableRow`s, in NumPy; states [m + 1, ...]."""
    held, path = [], [z]
    for i in range(len(rows.t)):
        x0 = denoise(z, rows.t[i])
        if rows.read is not None:
            x0 = by(rows.read[0][i], z) + by(rows.read[1][i], x0)
        held.insert(0, x0)
        z = by(rows.propagate[i], z) + sum(
            by(w, h) for w, h in zip(rows.weights[i], held, strict=False)
        )
        path.append(z)
    return np.stack(path)


def run_general(rows, z):
    past, data, path = [], [], [z]
    for i in range(len(rows.t)):
        past.insert(0, z)
        data.insert(0, denoise(z, rows.t[i]))
        z = sum(by(a, h) for a, h in zip(rows.past[i], past, strict=False))
        z = z + sum(by(b, h) for b, h in zip(rows.data[i], data, strict=False))
        path.append(z)
    return np.stack(path)


def agree(ours, theirs, tolerance=1e-12):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


everywhere = pytest.mark.parametrize("process", list(PROCESSES))


@everywhere
@pytest.mark.parametrize("name", [*NAMED, "rho_rk"])
def test_a_named_table_in_general_form(name, process):
    method, options = NAMED.get(name, ("rho_rk", {}))
    ts, record = STOPS[process], PROCESSES[process]
    rows = getattr(exponential, method)(record, None, **options).plan(ts)
    ours = run_general(exponential.generalise(record, rows), start(process))
    # R^-1 of a block has 1e4 times the size of what it makes, and rounding with it.
    agree(ours, run_table(rows, start(process)), 1e-12 if process == "vp" else 1e-10)


@everywhere
@pytest.mark.parametrize("name", list(NAMED))
def test_a_named_sampler_as_a_schedule(name, process):
    method, options = NAMED[name]
    ts, record = STOPS[process], PROCESSES[process]
    named = getattr(exponential, method)(record, None, **options).plan(ts)
    choices = exponential.named_schedule(method, STEPS, **options)
    rows = exponential.usf(record, None, schedule=choices).plan(ts)
    agree(
        run_general(rows, start(process)),
        run_table(named, start(process)),
        1e-12 if process == "vp" else 1e-10,
    )


@everywhere
def test_the_engine_runs_general_tables(process):
    record, z, ts = PROCESSES[process], start(process), STOPS[process]

    def denoiser(z, t):
        seen = z if process == "vp" else z[0] - 0.3 * z[1]
        return jnp.tanh(seen + 0.1) * (1 - t / 2)

    solver = exponential.usf(
        record, denoiser, schedule=exponential.named_schedule("unipc", STEPS, hold="eps")
    )
    path, infos = jg.solve(jax.random.key(0), solver, jnp.asarray(z), ts, trajectory=True)
    agree(path, run_general(solver.plan(ts), z), 1e-10)
    assert infos.t.tolist() == ts[1:].tolist()
    fixed = exponential.general(record, denoiser, solver.plan(ts))
    again = jg.solve(jax.random.key(0), fixed, jnp.asarray(z), ts)[0]
    agree(again, path[-1], 1e-14)
    assert solver.evaluations(STEPS) == fixed.evaluations(STEPS) == STEPS


MIXED = exponential.Schedule(
    hold=("x0", "eps", "eps", "x0", "eps", "x0"),
    clock=("t", "rho", "log_snr", "t", "t", "log_snr"),
    order=(1, 2, 2, 3, 1, 2),
    stencil=((0,), (0, 1), (0, 2), (0, 1, 3), (0, 1), (0, 1, 2)),
    relaxation=("none", "bh1", "none", "bh2", "none", "bh2"),
    corrector=(True, False, True, True, False, False),
)


@everywhere
def test_mixed_schedules_are_exact_for_constant_predictions(process):
    """Whatever is mixed, a constant x0hat is followed as DDIM follows it."""
    record, ts, z = PROCESSES[process], STOPS[process], start(process)
    rows = exponential.usf(record, None, schedule=MIXED).plan(ts)
    exact = exponential.generalise(record, exponential.ddim(record, None).plan(ts))
    x0 = np.array([0.7, -1.4, 0.2])
    ends = []
    for table in (rows, exact):
        past, state = [], z
        for i in range(STEPS):
            past.insert(0, state)
            state = sum(by(a, h) for a, h in zip(table.past[i], past, strict=False))
            state = state + by(table.data[i][: i + 1].sum(0), x0)
        ends.append(state)
    agree(ends[0], ends[1], 1e-9)


def order_two(n, mixed):
    """A schedule of order 2 whose held prediction and clock alternate, or skip evaluations."""
    if mixed == "stencil":
        return exponential.schedule(n, order=2, stencil=(0, 2))
    if mixed == "truncated":
        return exponential.schedule(n, order=2, stencil=(0, 1, 2), clock="t")
    return exponential.schedule(
        n,
        order=2,
        hold=[("x0", "eps")[i % 2] for i in range(n)],
        clock=[("log_snr", "t", "rho")[i % 3] for i in range(n)],
        corrector=[i % 4 == 1 for i in range(n)],
    )


@pytest.mark.parametrize("mixed", ["alternating", "stencil", "truncated"])
def test_mixed_schedules_keep_their_order(mixed):
    z, errors = start("vp"), []
    # The reference holds another prediction and is of order 4.
    fine = exponential.adams_bashforth(VP, None, order=4, hold="eps", start="exact")
    end = run_table(fine.plan(jg.grids.log_snr(VP, 2560, t_min=0.05, t_max=0.9)), z)[-1]
    for n in (160, 320):
        solver = exponential.usf(VP, None, schedule=order_two(n, mixed))
        ts = jg.grids.log_snr(VP, n, t_min=0.05, t_max=0.9)
        errors.append(np.linalg.norm(run_general(solver.plan(ts), z)[-1] - end))
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.15, errors


def test_traced_numbers_give_the_host_tables():
    make, numbers = jg.processes.scalar.vp, (0.2, 15.0)
    fn = lambda numbers: exponential.usf(make(*numbers), None, schedule=MIXED).plan(STOPS["vp"])
    for ours, exact in zip(jax.jit(fn)(numbers), fn(numbers), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-9, atol=1e-10 * np.abs(exact).max())


WRONG = [
    ({"hold": "v"}, "hold must be one of eps, x0; got 'v' at step 0"),
    ({"clock": "lambda"}, "clock must be one of t, log_snr, rho; got 'lambda' at step 0"),
    ({"order": 7}, "order must be an integer from 1 to 6; got 7"),
    ({"order": 3, "stencil": (0, 1)}, None),
    ({"relaxation": "half"}, "relaxation must be one of none, bh1, bh2; got 'half'"),
    ({"order": (1, 2)}, "order must be one choice or one for each of 4 steps; got 2"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_choices_are_refused(options, message):
    if message is None:
        assert exponential.schedule(4, **options).order == (1, 2, 2, 2)
        return
    with pytest.raises(ValueError, match=message):
        exponential.schedule(4, **options)


def test_what_does_not_fit_is_refused():
    solver = exponential.usf(VP, None, schedule=exponential.schedule(4, order=2))
    with pytest.raises(
        ValueError, match="schedule of 4 steps must have as many in its grid; got 6"
    ):
        solver.plan(STOPS["vp"])
    with pytest.raises(ValueError, match="usf: stops must lie in"):
        solver.plan(np.linspace(1.2, 0.1, 5))
    with pytest.raises(ValueError, match="a stencil must rise from 0"):
        exponential.schedule(4, stencil=(1, 2))
    early = exponential.schedule(2)._replace(stencil=((0, 1), (0,)))
    with pytest.raises(ValueError, match="not reach before the start; got .0, 1. at step 0"):
        exponential.usf(VP, None, schedule=early)
    many = exponential.schedule(2)._replace(order=(1, 2))
    with pytest.raises(ValueError, match="at most as many terms as its stencil evaluations"):
        exponential.usf(VP, None, schedule=many)
    with pytest.raises(ValueError, match="fields must have one length"):
        exponential.usf(VP, None, schedule=exponential.schedule(2)._replace(order=(1,)))
    with pytest.raises(ValueError, match="name must be one of ddim, deis,"):
        exponential.named_schedule("euler", 3)
    rows = exponential.generalise(VP, exponential.ddim(VP, None).plan(STOPS["vp"]))
    with pytest.raises(ValueError, match=r"rows must have shapes .* past \[m, k, 2, 2\], data"):
        exponential.general(CLD, None, rows)
    with pytest.raises(ValueError, match="rows must have shapes"):
        exponential.general(VP, None, rows._replace(data=rows.data[:-1]))
    with pytest.raises(ValueError, match="rows must be finite"):
        exponential.general(VP, None, rows._replace(data=rows.data * np.nan))
    with pytest.raises(ValueError, match="stops must be the times of the table; got"):
        exponential.general(VP, None, rows).plan(STOPS["vp"][:-1])
    noisy = exponential.ddim(VP, None).plan(STOPS["vp"])._replace(noise=np.ones(STEPS))
    with pytest.raises(ValueError, match="rows must be deterministic"):
        exponential.generalise(VP, noisy)


def test_general_tables_keep_dtypes_and_trees():
    choices = exponential.named_schedule("unipc", STEPS, predictor_order=2)
    stand_in = lambda z, t: jax.tree.map(lambda x: jnp.tanh(x) * (1 - t / 2).astype(x.dtype), z)
    solver = exponential.usf(VP, stand_in, schedule=choices)
    run = lambda x: jg.solve(jax.random.key(0), solver, x, STOPS["vp"])[0]
    x = jnp.asarray(start("vp"))
    xs = {"a": x, "b": (x.astype(jnp.float32), x.astype(jnp.bfloat16))}
    ends = jax.jit(run)(xs)
    for leaf, end in zip(jax.tree.leaves(xs), jax.tree.leaves(ends), strict=True):
        assert end.dtype == leaf.dtype
    np.testing.assert_allclose(ends["b"][0], ends["a"], atol=1e-5)
    np.testing.assert_allclose(np.asarray(ends["b"][1], float), ends["a"], atol=0.1)
