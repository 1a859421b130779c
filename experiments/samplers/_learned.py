"""Tables learned by gradients against the best of 120 named samplers, on mixtures never seen.

`python -m experiments.samplers._learned --help`. Random mixtures under the variance preserving
process; a table is learned on fresh batches of them and scored on others, each against its own best
named combination (5 grids, 2 predictions, 3 clocks, 4 orders) at as many evaluations.
"""

import csv
import dataclasses
import functools
import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

import jaxgen as jg
from experiments._command import ended
from jaxgen.solvers import exponential, search

PROCESS = jg.processes.scalar.vp()
COMPONENTS = 5
GRIDS = {
    "uniform": jg.grids.uniform,
    "log_snr": jg.grids.log_snr,
    "power 2": jg.grids.power,
    "power 3": functools.partial(jg.grids.power, rho=3.0),
    "karras": jg.grids.karras,
}
NAMED = [
    (grid, hold, clock, order)
    for grid in GRIDS
    for hold in ("eps", "x0")
    for clock in ("t", "log_snr", "rho")
    for order in (1, 2, 3, 4)
]
# What is learned: (how the first prediction is made, whether members are exact for constant ones,
# how many past predictions, whether weights are learned). The last three re-derive the literature.
FAMILIES = {
    "known mean": ("known", True, None, True),
    "skipped": ("skipped", True, None, True),
    "known mean, inexact": ("known", False, None, True),
    "skipped, inexact": ("skipped", False, None, True),
    "plain": ("evaluated", True, None, True),
    "non-stationary (BNS)": ("evaluated", False, None, True),
    "three weights (S4S)": ("evaluated", False, 3, True),
    "grid only (LD3)": ("evaluated", True, None, False),
}
WIDE = 6  # past predictions in use beyond 10 evaluations, where there is little to gain from more


@dataclasses.dataclass(frozen=True)
class Settings:
    """Learn tables, and compare them with the best named sampler of each unseen mixture."""

    run: str = "runs/samplers/learned"
    """Folder of learned.csv, laws.csv, and the tables."""
    dims: tuple[int, ...] = (2, 16)
    """Dimensions of the mixtures."""
    budgets: tuple[int, ...] = (5, 10, 20)
    """Network evaluations."""
    families: tuple[str, ...] = tuple(FAMILIES)
    """What is learned; see FAMILIES."""
    targets: int = 256
    """Mixtures to learn from."""
    unseen: int = 12
    """Mixtures to be scored on."""
    batch: int = 64
    """Mixtures of a step."""
    starts: int = 32
    """Starting points of each."""
    steps: int = 40
    """Gauss-Newton steps."""
    population: int = 48
    """Schedules and grids scored in a round of the search in stages; 0: no search."""
    rounds: int = 8
    """Its rounds."""
    samples: int = 2000
    """Draws of each law whose distance is measured; 0: none."""
    seed: int = 0
    """Of everything random."""


def mixtures(random, m, dim):
    """m random mixtures, a record with a leading axis."""
    weights = random.dirichlet(np.full(COMPONENTS, 2.0), m)
    means = 1.5 * random.normal(size=(m, COMPONENTS, dim))
    variances = np.exp(random.uniform(np.log(0.04), np.log(0.25), (m, COMPONENTS)))
    flat = np.zeros((m, COMPONENTS, dim, 0)), np.zeros((m, COMPONENTS, 0))
    return jg.densities.GaussianMixture(np.log(weights), means, variances, *flat)


def denoise(target, z, t):
    """E[x0 | z] of one mixture."""
    return jg.densities.denoiser(target, PROCESS)(z, t)


@jax.jit
def solution(targets, starts):
    """Where the flow takes starts [m, b, dim]: order 4, 256 steps, error about 1e-6."""
    ts = jg.grids.log_snr(PROCESS, 256)

    def one(target, z):
        denoiser = functools.partial(denoise, target)
        solver = exponential.adams_bashforth(PROCESS, denoiser, order=4)
        return jg.solve(jax.random.key(0), solver, z, ts)[0]

    return jax.vmap(jax.vmap(one, (None, 0)))(targets, starts)


def batch_of(random, m, b, dim):
    """A `Batch` of m mixtures and b starts of each, with their solutions."""
    targets, starts = mixtures(random, m, dim), random.normal(size=(m, b, dim))
    means = np.einsum("mk,mkd->md", np.exp(targets.log_weights), targets.means)
    return search.Batch(targets, starts, np.asarray(solution(targets, starts)), means)


def named_rows(combination, n):
    """The table of a named combination at n evaluations, four predictions wide."""
    grid, hold, clock, order = combination
    options = {"order": min(order, n), "hold": hold, "clock": clock}
    solver = exponential.adams_bashforth(PROCESS, None, **options)
    rows = exponential.generalise(PROCESS, solver.plan(GRIDS[grid](PROCESS, n)))
    pad = ((0, 0), (0, 4 - rows.past.shape[1]))
    return rows._replace(past=np.pad(rows.past, pad), data=np.pad(rows.data, pad))


@jax.jit
def distances(rows, batch):
    """Mean distance [m] from the solutions of a table whose predictions are all evaluated."""
    family = search.Learnable(rows, lambda rows: rows, "evaluated")
    apart = search.misses(PROCESS, denoise, family, rows, batch, scan=True)
    return jnp.mean(jnp.linalg.norm(apart, axis=-1), 1)


def best_named(batch, n):
    """The least error [m] of the named combinations on each target, and the best on the median."""
    errors = np.stack([distances(named_rows(named, n), batch) for named in NAMED])
    return errors.min(0), NAMED[int(np.median(errors, 1).argmin())]


def family_of(name, start, n):
    """The `Learnable` family of a name in FAMILIES around a named start, at n evaluations."""
    first, consistent, width, weights = FAMILIES[name]
    rows = n + (first != "evaluated")
    width = width or (WIDE if n > 10 else None)
    if width is not None and start[1] == "eps":
        start = (start[0], "x0", *start[2:])  # a noise prediction reads all that came before
    order = min(start[3], width or start[3])
    table = named_rows((*start[:3], order), rows)
    if not weights:
        return _grid_only(start, n)
    options = {"first": first, "width": width, "consistent": consistent}
    return search.learnable(PROCESS, table, **options)


def _grid_only(start, n):
    """The named sampler on a free grid, with times of evaluation beside it."""
    whole = search.learnable(PROCESS, named_rows(start, n))
    _, hold, clock, order = start
    solver = exponential.adams_bashforth(PROCESS, None, order=order, hold=hold, clock=clock)

    def decode(params):
        rows = whole.decode({**whole.params, "gaps": params["gaps"]})
        ts = jnp.concatenate([rows.t, rows.t_next[-1:]])
        made = exponential.generalise(PROCESS, solver.plan(ts))
        return made._replace(t=jnp.clip(ts[:-1] * jnp.exp(params["shifts"]), ts[-1], ts[0]))

    return search.Learnable({"gaps": jnp.zeros(n), "shifts": jnp.zeros(n)}, decode, "evaluated")


def single(tree):
    """The tree in float32, in which tables are learned."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def learn(family, pool, settings, title):
    """The params of a family after Gauss-Newton on batches drawn from a pool, and the seconds."""
    trainer = search.gauss_newton(PROCESS, denoise, family, scan=True)
    step, state = jax.jit(trainer.step), single(trainer.init(family.params))
    random, began = np.random.default_rng(settings.seed + 1), time.monotonic()
    size, starts = pool.starts.shape[:2]
    for _ in tqdm(range(settings.steps), desc=title, leave=False, disable=None):
        some = random.choice(size, min(settings.batch, size), replace=False)
        which = random.choice(starts, min(settings.starts, starts), replace=False)
        batch = jax.tree.map(lambda leaf, some=some: leaf[some], pool)
        batch = batch._replace(starts=batch.starts[:, which], ends=batch.ends[:, which])
        state, _ = step(None, state, batch)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), state.params)
    return params, time.monotonic() - began


def searched(pool, n, settings, title):
    """What a search in stages finds on a part of the pool, and the seconds."""
    some = jax.tree.map(lambda leaf: leaf[: settings.batch], pool)
    some = some._replace(
        starts=some.starts[:, : settings.starts], ends=some.ends[:, : settings.starts]
    )
    bad = lambda rows: jnp.mean(jnp.log(distances(rows, some)))
    bar = tqdm(total=settings.rounds, desc=title, leave=False, disable=None)
    began = time.monotonic()
    found = search.stages(
        PROCESS,
        n,
        jax.jit(lambda rows: jax.lax.map(bad, rows)),
        grids=tuple(GRIDS.values()),
        seed=settings.seed,
        rounds=settings.rounds,
        population=settings.population,
        progress=lambda *_: bar.update(),
    )
    bar.close()
    return found, time.monotonic() - began


def score(family, params, batch):
    """Mean distance [m] of a learned table from the solutions."""
    misses = jax.jit(
        lambda params: search.misses(PROCESS, denoise, family, params, batch, scan=True)
    )
    return np.asarray(jnp.mean(jnp.linalg.norm(misses(params), axis=-1), 1))


def law_distances(run, batch, settings):
    """Unbiased squared MMD [unseen, 3 seeds] of what run(target, mean, z [b, dim]) makes from noise
    to the law at t_min.
    """
    kernel = jg.kernels.imq()

    @jax.jit
    def one(key, target, mean):
        key_start, key_law = jax.random.split(key)
        dim = mean.shape[0]
        made = run(target, mean, jax.random.normal(key_start, (settings.samples, dim)))
        law = jg.densities.marginal(target, PROCESS, PROCESS.t_min)
        true = jax.vmap(law.sample)(jax.random.split(key_law, settings.samples))
        return jg.metrics.mmd2(made, true, kernel)

    pick = lambda i: jax.tree.map(lambda leaf: leaf[i], (batch.targets, batch.means))
    keys = [jax.random.key(settings.seed + s) for s in range(3)]
    return np.array(
        [
            [one(jax.random.fold_in(key, i), *pick(i)) for key in keys]
            for i in range(len(batch.means))
        ]
    )


def runner(family, params):
    """run(target, mean, z [b, dim]) of a table."""
    rows = family.decode(params)
    one = lambda target, mean, z: search.run_rows(
        PROCESS,
        functools.partial(denoise, target),
        rows,
        z,
        first=family.first,
        mean=mean,
        scan=True,
    )
    return jax.vmap(one, (None, None, 0))


def laws(settings, case, unseen, named, family, params):
    """Rows of laws.csv: the named and the learned table, and the flow itself."""
    plain = search.Learnable(None, lambda rows: rows, "evaluated")
    exact = lambda target, mean, z: solution(
        jax.tree.map(lambda leaf: leaf[None], target), z[None]
    )[0]
    runs = {
        "best named": runner(plain, named_rows(named, case["evaluations"])),
        f"learned, {case['family']}": runner(family, params),
        "the flow": exact,
    }
    for name, run in runs.items():
        found = law_distances(run, unseen, settings).mean(0)
        error = found.std(ddof=1) / np.sqrt(len(found))
        which = {"dim": case["dim"], "evaluations": case["evaluations"], "table": name}
        yield which | {"squared MMD": found.mean(), "standard error": error}


def study(settings, folder):
    """learned.csv, laws.csv and tables/*.npz."""
    rows, law_rows = [], []
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for dim in settings.dims:
        unseen = batch_of(np.random.default_rng([settings.seed, 1, dim]), settings.unseen, 256, dim)
        seen = batch_of(np.random.default_rng([settings.seed, 2, dim]), settings.targets, 128, dim)
        pool = single(seen)
        for n in settings.budgets:
            best, _ = best_named(unseen, n)
            _, start = best_named(jax.tree.map(lambda leaf: leaf[:16], seen), n)
            case = {"dim": dim, "evaluations": n}
            for name in settings.families:
                title = f"{dim}-D, {n}, {name}"
                family = family_of(name, start, n)
                params, seconds = learn(family, pool, settings, title)
                error = score(family, params, unseen)
                rows.append(report(case, name, " ".join(map(str, start)), error, best, seconds))
                table = search.Table(family.decode(params), family.first)
                path = folder / "tables" / f"{dim}d-{n}-{'-'.join(name.split())}.npz"
                search.save(path, table, PROCESS, note=title)
                if settings.samples and n == min(settings.budgets) and name == settings.families[0]:
                    law_rows += laws(
                        settings, case | {"family": name}, unseen, start, family, params
                    )
                    write(folder / "laws.csv", law_rows)
            if settings.population:
                found, seconds = searched(pool, n, settings, f"{dim}-D, {n}, search in stages")
                error = distances(found.table.rows, unseen)
                rows.append(report(case, "searched (S3)", "-", error, best, seconds))
                path = folder / "tables" / f"{dim}d-{n}-searched.npz"
                search.save(path, found.table, PROCESS, note=json.dumps(found.schedule))
            write(folder / "learned.csv", rows)
    return rows, law_rows


def report(case, name, start, error, best, seconds):
    """A row of learned.csv, printed."""
    error = np.asarray(error)
    row = case | {
        "family": name,
        "start": start,
        "best named": float(np.median(best)),
        "found": float(np.median(error)),
        "ratio of medians": float(np.median(error) / np.median(best)),
        "median ratio": float(np.median(error / best)),
        "worst ratio": float((error / best).max()),
        "seconds": seconds,
    }
    print(*(f"{v:.4g}" if isinstance(v, float) else v for v in row.values()), sep="  ", flush=True)
    return row


def write(path, rows):
    """A CSV file of dictionaries."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def run(argv) -> None:
    """The study that command-line words ask for; ValueError on a family that is not known."""
    settings = tyro.cli(Settings, args=argv, prog="python -m experiments.samplers._learned")
    unknown = [name for name in settings.families if name not in FAMILIES]
    if unknown:
        raise ValueError(f"settings: families must be among {', '.join(FAMILIES)}; got {unknown}")
    with jax.enable_x64(True):
        _, law_rows = study(settings, pathlib.Path(settings.run))
    for row in law_rows:
        print(row)


def main(argv) -> int:
    """Runs the study on command-line words; the exit code."""
    return ended("experiments.samplers._learned", run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
