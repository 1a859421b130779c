"""A whole run: comparisons, orders, cost; user errors become one line and exit code 2."""

import itertools
import pathlib

import jax
import numpy as np
from tqdm import tqdm

from experiments._command import ended
from experiments._rows import write_csv
from experiments.samplers import _cost, _figures, _methods, _problems, _settings


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.samplers", run, argv)


def run(argv) -> None:
    """The comparison that command-line words ask for."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    if not settings.only_cost:
        with jax.enable_x64(True):
            compare(settings, folder)
            orders(settings, folder)
    if settings.cost or settings.only_cost:
        _cost.write(folder)


def compare(settings, folder):
    """errors.csv, best.csv and errors.png: each sampler on its best grid, at each budget."""
    cases = [
        (process, dim, guidance)
        for process in settings.processes
        for dim in settings.dims
        for guidance in settings.guidance
        if not (guidance and dim != min(settings.dims))
    ]
    rows, best = [], []
    bar = tqdm(desc="comparing", unit=" runs", mininterval=5)
    for process, dim, guidance in cases:
        problem = _problems.build(
            process, dim, guidance, settings.starts, settings.seed, settings.solution_steps
        )
        found = []
        for row in compared(problem, settings):
            found.append(row)
            bar.update()
        rows += found
        for budget in settings.budgets:
            best += sorted(on_best_grids(found, budget), key=lambda row: row["error"])[:3]
    bar.close()
    write_csv(folder / "errors.csv", rows)
    write_csv(folder / "best.csv", best)
    write_csv(folder / "recommended.csv", recommended(rows))
    shown = [row for case in cases_of(rows) for row in on_best_grids(*case)]
    _figures.errors(folder / "errors.png", shown)
    print_best(best)
    print(f"  {folder}/errors.csv\n  {folder}/best.csv\n  {folder}/errors.png")


def compared(problem, settings):
    """A row for every sampler, budget and grid on a problem."""
    runner = _methods.Runner(problem)
    for name, budget, grid in itertools.product(
        settings.samplers, settings.budgets, settings.grids
    ):
        found = runner.error(_methods.METHODS[name], grid, budget)
        if found is not None:
            evaluations, error = found
            yield {
                "problem": problem.name,
                "sampler": name,
                "budget": budget,
                "evaluations": evaluations,
                "grid": grid,
                "error": error,
                "uncertainty": problem.uncertainty,
            }


def on_best_grids(rows, budget):
    """The row with the smallest error of every sampler at a budget, of one problem."""
    best = {}
    for row in rows:
        if row["budget"] == budget:
            name = row["sampler"]
            best[name] = min(best.get(name, row), row, key=lambda row: row["error"])
    return list(best.values())


def cases_of(rows):
    """(rows of one problem, budget), for every pair of them."""
    pairs = dict.fromkeys((row["problem"], row["budget"]) for row in rows)
    return [([row for row in rows if row["problem"] == name], budget) for name, budget in pairs]


def recommended(rows):
    """For scalar and block processes, with and without guidance, at each budget: the sampler and
    grid whose errors are smallest beside the best of each problem, in geometric mean.
    """
    found = []
    kind = lambda row: (
        "block" if row["problem"].split(",")[0] in ("cld", "hold") else "scalar",
        "guidance" in row["problem"],
        row["budget"],
    )
    for group in sorted({kind(row) for row in rows}):
        inside = [row for row in rows if kind(row) == group]
        problems = sorted({row["problem"] for row in inside})
        least = {p: min(row["error"] for row in inside if row["problem"] == p) for p in problems}
        ratios = {}
        for row in inside:
            ratio = np.log(row["error"] / least[row["problem"]])
            ratios.setdefault((row["sampler"], row["grid"]), {})[row["problem"]] = ratio
        means = {
            pair: float(np.exp(np.mean(list(each.values()))))
            for pair, each in ratios.items()
            if len(each) == len(problems)
        }
        sampler, grid = min(means, key=means.get)
        found.append(
            dict(zip(("process", "guided", "budget"), group, strict=True))
            | {"sampler": sampler, "grid": grid, "error / best": means[sampler, grid]}
        )
    return found


def orders(settings, folder):
    """orders.csv and orders.png: on the textbook mixture, on the log-SNR grid."""
    rows = []
    methods = {
        name: method
        for name, method in (_methods.METHODS | _methods.EXACT).items()
        if name in settings.samplers or (name in _methods.EXACT and not settings.smoke)
    }
    bar = tqdm(total=len(settings.processes) * len(methods), desc="orders", mininterval=5)
    for process in settings.processes:
        problem = _problems.build(
            process, 0, 0.0, min(settings.starts, 16), settings.seed, 2 * settings.solution_steps
        )
        runner = _methods.Runner(problem)
        for name, method in methods.items():
            found = [runner.error(method, "log_snr", n) for n in settings.order_evaluations]
            n, errors = np.array(found).T
            use = errors > 10 * problem.uncertainty
            slope = (
                -np.polyfit(np.log(n[use]), np.log(errors[use]), 1)[0] if use.sum() > 1 else None
            )
            nominal = method.build(problem.process, None).order
            rows += [
                {
                    "process": process,
                    "sampler": name,
                    "evaluations": int(count),
                    "error": error,
                    "nominal order": nominal,
                    "measured order": slope,
                }
                for count, error in found
            ]
            bar.update()
    bar.close()
    write_csv(folder / "orders.csv", rows)
    _figures.orders(folder / "orders.png", rows)
    print(f"  {folder}/orders.csv\n  {folder}/orders.png")


def print_best(best):
    """The best three at every budget of every problem."""
    print(f"{'problem':28s}{'budget':>7s}  best three (grid): mean distance to the solution")
    for problem, budget in dict.fromkeys((row["problem"], row["budget"]) for row in best):
        rows = [row for row in best if (row["problem"], row["budget"]) == (problem, budget)]
        words = ", ".join(f"{row['sampler']} ({row['grid']}) {row['error']:.2g}" for row in rows)
        print(f"{problem:28s}{budget:7d}  {words}")
