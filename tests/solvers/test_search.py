"""Found tables: what stays true whatever is learned, that learning helps, and tables as files."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential, search

VP = jg.processes.scalar.vp()
FIRSTS = ("evaluated", "known", "skipped")


def named(n, method="adams_bashforth", **options):
    ts = jg.grids.power(VP, n)
    solver = getattr(exponential, method)(VP, None, **options)
    return exponential.generalise(VP, solver.plan(ts))


def run(rows, z, denoise, first="evaluated", mean=0.0):
    """A general table, in NumPy."""
    past, data = [], []
    for i in range(len(rows.t)):
        known = i == 0 and first != "evaluated"
        past.insert(0, z)
        data.insert(0, (mean if first == "known" else 0 * z) if known else denoise(z, rows.t[i]))
        width = min(i + 1, rows.past.shape[1])
        z = sum(rows.past[i, j] * past[j] + rows.data[i, j] * data[j] for j in range(width))
    return z


def network(z, t):
    return np.tanh(z + 0.1) * (1 - t / 2)


START = np.random.default_rng(0).normal(size=3)
NAMED = {
    "deis": ("deis", {"order": 3}),
    "dpmpp_2m": ("dpmpp_2m", {}),
    "unipc": ("unipc", {"hold": "eps", "predictor_order": 2}),
}


@pytest.mark.parametrize("name", list(NAMED))
def test_learning_starts_from_the_named_table(name):
    method, options = NAMED[name]
    rows = named(5, method, **options)
    family = search.learnable(VP, rows)
    table = search.table_of(family, family.params)
    np.testing.assert_allclose(
        run(table.rows, START, network), run(rows, START, network), rtol=1e-11
    )
    np.testing.assert_allclose(search.stops(table), jg.grids.power(VP, 5), rtol=1e-12)


def shaken(family, seed=1):
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + random.normal(size=leaf.shape), family.params)


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("first", FIRSTS)
def test_every_member_is_exact_for_a_constant_prediction(first, width):
    family = search.learnable(VP, named(5, order=3), first=first, width=width)
    table = search.table_of(family, shaken(family))
    ts = search.stops(table)
    assert (ts[0], ts[-1]) == (VP.t_max, VP.t_min)
    assert (np.diff(ts) < 0).all()
    x0 = np.array([0.7, -1.4, 0.2])
    (a, s), (b, r) = (VP.transition(np.asarray(t)) for t in (ts[0], ts[-1]))
    end = run(table.rows, START, lambda z, t: x0, first, x0)
    np.testing.assert_allclose(end, b * x0 + r * (START - a * x0) / s, rtol=1e-10)
    assert search.evaluations(table) == (5 if first == "evaluated" else 4)


@pytest.mark.parametrize("first", FIRSTS)
def test_a_table_is_a_solver(first):
    family = search.learnable(VP, named(4, order=2), first=first, consistent=False)
    params = jax.tree.map(lambda leaf: leaf / 10, shaken(family))
    table, mean = search.table_of(family, params), np.array([0.3, -0.1, 0.2])
    seen = []

    def denoiser(z, t):
        seen.append(t)
        return jnp.tanh(z + 0.1) * (1 - t / 2)

    solver = search.sampler(VP, denoiser, table, mean=mean)
    end = jg.solve(jax.random.key(0), solver, jnp.asarray(START), search.stops(table))[0]
    expected = run(table.rows, START, network, first, mean)
    np.testing.assert_allclose(end, expected, rtol=1e-10)
    assert solver.evaluations(4) == search.evaluations(table)
    rows = jax.jit(family.decode)(params)
    for scan in (False, True):
        seen.clear()
        options = {"first": first, "mean": mean, "scan": scan}
        again = search.run_rows(VP, denoiser, rows, jnp.asarray(START), **options)
        np.testing.assert_allclose(again, expected, rtol=1e-10)
        assert scan or len(seen) == search.evaluations(table)


def denoise(target, z, t):
    """The denoiser of a Gaussian of some mean and variance."""
    mean, variance = target
    alpha, sigma = VP.transition(t)
    return mean + alpha * variance / (alpha**2 * variance + sigma**2) * (z - alpha * mean)


def batch(seed, m=16, b=4):
    """Gaussians, whose flow keeps (z - alpha mean) / deviation."""
    random = np.random.default_rng(seed)
    mean, variance = random.normal(size=(m, 1, 1)), np.exp(random.uniform(-3, 0, (m, 1, 1)))
    z = random.normal(size=(m, b, 1))
    (a, s), (b, r) = (VP.transition(np.asarray(t)) for t in (VP.t_max, VP.t_min))
    deviation = np.sqrt((b**2 * variance + r**2) / (a**2 * variance + s**2))
    ends = b * mean + deviation * (z - a * mean)
    return search.Batch((mean[:, 0], variance[:, 0]), z, ends, mean[:, 0])


def learned(trainer, family, steps):
    step, state = jax.jit(trainer.step), trainer.init(family.params)
    for i in range(steps):
        state, info = step(None, state, batch(i))
    return state.params, info


@functools.cache
def score(family_of, first):
    """How far the ends of a family's tables are off on targets that were not learned from."""
    family = family_of(first)
    unseen = batch(100, 64)
    return jax.jit(
        lambda params: jnp.abs(search.misses(VP, denoise, family, params, unseen)).mean()
    )


def family_of(first):
    return search.learnable(VP, named(3 if first == "evaluated" else 4, order=2), first=first)


@pytest.mark.parametrize("first", ["evaluated", "skipped"])
def test_gauss_newton_learns_from_few_batches(first):
    family = family_of(first)
    params, info = learned(search.gauss_newton(VP, denoise, family, scan=True), family, 12)
    far = score(family_of, first)
    assert far(params) < 0.25 * far(family.params), (far(params), far(family.params))
    assert info.distance.shape == (16,)


def test_a_step_that_does_not_help_is_refused():
    family = family_of("evaluated")
    trainer = search.gauss_newton(VP, denoise, family, scan=True)
    one, step, losses = batch(0), jax.jit(trainer.step), []
    for seed in range(3):
        state = trainer.init(shaken(family, seed))._replace(inner=jnp.asarray(1e-4))
        for _ in range(8):
            state, info = step(None, state, one)
            losses.append(float(info.loss))
    steps = np.diff(np.reshape(losses, (3, 8)))
    assert (steps <= 0).all(), steps


def test_any_optimiser_learns():
    family = family_of("evaluated")
    trainer = search.first_order(VP, denoise, family, optax.adam(2e-2))
    params, _ = learned(trainer, family, 60)
    far = score(family_of, "evaluated")
    assert far(params) < 0.6 * far(family.params), (far(params), far(family.params))


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(ValueError, match="the process must be scalar; got 2 blocks"):
        search.learnable(jg.processes.augmented.cld(), named(3))
    with pytest.raises(ValueError, match="first must be one of evaluated, known, skipped; got 'a'"):
        search.learnable(VP, named(3), first="a")
    for width in (0, 2, 7):
        with pytest.raises(ValueError, match="width must be from 1 to 5 and hold all predictions"):
            search.learnable(VP, named(5, order=3), width=width)
    rows = named(3)
    with pytest.raises(ValueError, match="exact for a constant prediction of this process; got"):
        search.learnable(VP, rows._replace(data=rows.data * 1.1))


@pytest.fixture
def saved(tmp_path):
    family = search.learnable(VP, named(4), first="skipped")
    table, path = search.table_of(family, shaken(family)), tmp_path / "table.npz"
    search.save(path, table, VP, note="of a test")
    return path, table


def test_a_table_comes_back_from_its_file(saved):
    path, table = saved
    found = search.load(path, VP)
    assert found.first == table.first
    for ours, theirs in zip(found.rows, table.rows, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def damaged(path, **changes):
    with np.load(path) as file:
        found = {name: file[name] for name in file.files}
    for name, change in changes.items():
        if name in found:
            found[name] = change(found[name])
        else:
            header = json.loads(str(found["header"]))
            found["header"] = np.array(json.dumps(header | {name: change}))
    found = {name: value for name, value in found.items() if value is not None}
    with open(path, "wb") as file:
        np.savez(file, **found)


DAMAGES = [
    ({"past": lambda leaf: leaf[:-1]}, "rows must fit the shape"),
    ({"t": lambda leaf: leaf[:-1]}, "rows must fit the shape"),
    ({"data": lambda leaf: leaf * np.nan}, "numbers must be finite; got NaN"),
    ({"evaluations": 4}, "first and evaluations must fit the rows; got"),
    ({"first": "guessed"}, "first and evaluations must fit the rows; got"),
    ({"format": "another"}, "the file must have format 'jaxgen table 1' and all arrays; got"),
    ({"data": lambda leaf: None}, "the file must have format 'jaxgen table 1' and all arrays; got"),
    ({"t_next": lambda leaf: leaf[::-1]}, "times must fall from row to row; got"),
    ({"header": lambda leaf: np.array("{")}, "must be a table saved by solvers.search.save; got"),
]


@pytest.mark.parametrize(("changes", "message"), DAMAGES)
def test_a_damaged_file_is_refused(saved, changes, message):
    path, _ = saved
    damaged(path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        search.load(path, VP)
    assert "solvers.search.load: " + str(path) in str(error.value)


def test_another_process_or_file_is_refused(saved, tmp_path):
    path, table = saved
    with pytest.raises(ValueError, match="must have the schedule that the table was found for"):
        search.load(path, jg.processes.scalar.vp(0.1, 19.0))
    with pytest.raises(ValueError, match="must have the schedule that the table was found for"):
        search.load(path, jg.processes.augmented.cld())
    text = tmp_path / "text.npz"
    text.write_text("no table")
    with pytest.raises(ValueError, match="must be a table saved by solvers.search.save; got"):
        search.load(text, VP)
    with pytest.raises(ValueError, match="rows must be finite"):
        search.save(text, table._replace(rows=table.rows._replace(t=table.rows.t * np.nan)), VP)
