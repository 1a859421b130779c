"""A whole run: patterns, methods, whether the fitted models look like the real patterns."""

import dataclasses
import pathlib
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments._command import ended
from experiments._rows import write_csv
from experiments.point_patterns import (
    _criticism,
    _figures,
    _methods,
    _problems,
    _real,
    _settings,
)


class Found(NamedTuple):
    """A posterior by a method."""

    method: str
    thetas: Any  # [chains, n, 2]
    weights: Any  # [n] of one chain, or None
    accepted: float
    simulations: int
    seconds: float


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.point_patterns", run, argv)


def run(argv) -> None:
    """What command-line words ask for: CSVs and a picture of each kind of pattern."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    problems = list(installed(settings))
    folder.mkdir(parents=True, exist_ok=True)
    rows, falls, checks, shown = [], [], [], []
    with tqdm(total=sum(len(plan(settings, p)) for p in problems), desc="methods") as bar:
        for problem in problems:
            mine = smaller(settings, problem)
            found = posteriors(mine, problem, falls, bar)
            rows += [row(problem, each) for each in found]
            write_csv(folder / "point_patterns.csv", rows)
            if problem.name not in _real.NAMES:
                shown.append((problem, found))
                continue
            key = jax.random.key(settings.seed + 11)
            tests, radii = _criticism.criticised(key, mine, problem, found[0].thetas)
            checks += [check(problem, *each[:3]) for each in tests]
            write_csv(folder / "criticism.csv", checks)
            path = folder / f"{problem.name}.png"
            _figures.draw_real(path, problem, found, falls, tests, radii)
            print(f"  {path}")
    write_csv(folder / "tolerance.csv", falls)
    if shown:
        _figures.draw(folder / "point_patterns.png", shown, falls)
        print(f"  {folder}/point_patterns.png")
    tell(rows, checks)
    print(f"  {folder}/point_patterns.csv\n  {folder}/tolerance.csv")


def installed(settings):
    """The problems asked for; without names, those whose packages are installed."""
    for name in settings.patterns or _settings.DEFAULT:
        try:
            yield _problems.make(name, settings)
        except _real.MissingError as error:
            if settings.patterns:
                raise
            print(f"experiments.point_patterns: left out: {error}", file=sys.stderr)


def smaller(settings, problem):
    """The settings, with a third of the simulations where a pattern has many points."""
    if np.sum(problem.pattern.mask) <= 100 or settings.smoke:
        return settings
    return dataclasses.replace(
        settings,
        steps=max(settings.steps // 2, 12),
        noisy_budget=max(settings.noisy_budget // 3, 12 * settings.noisy),
        simulations=max(settings.simulations // 3, settings.keep),
        keep=max(settings.keep // 3, 2),
    )


def plan(settings, problem):
    """Names of the methods that a problem is given to."""
    chains = settings.with_abc_chains and problem.name in _settings.SIMULATED
    always = ["exchange", "simulated", "rejection"]
    return (
        always
        + ["noisy"] * settings.with_noisy
        + (["population"] * settings.with_population + ["chains"] * chains)
    )


def posteriors(settings, problem, falls, bar):
    """[`Found`] of every method, exchange first; falls gains ABC's."""
    key = jax.random.key(settings.seed + 7)
    found = []

    def timed(name, work):
        start = time.perf_counter()
        x, weights, rate, simulations = work()
        found.append(Found(name, x, weights, rate, simulations, time.perf_counter() - start))
        bar.update()

    def chained(method, i):
        x, rate, simulations = method(jax.random.fold_in(key, i), settings, problem)
        return x, None, rate, simulations

    timed("exchange", lambda: chained(_methods.exchange, 0))
    if settings.with_noisy:
        timed("noisy", lambda: chained(_methods.noisy, 1))
    thetas, features = _methods.simulated(jax.random.fold_in(key, 2), settings, problem)
    distance = _methods.distance_of(problem, thetas, features)
    bar.update()
    kept = {}

    def by_rejection():
        call = jax.random.fold_in(key, 3)
        most, _ = _methods.rejection(call, settings, problem, distance, settings.simulations // 3)
        for keep in sorted({len(most), len(most) // 4, settings.keep}, reverse=True):
            falls.append(fall(problem, most[:keep], settings))
        kept["theta"] = most[: settings.keep]
        rate = settings.keep / settings.simulations
        return kept["theta"][:, None], None, rate, settings.simulations

    def by_population():
        call = jax.random.fold_in(key, 6)
        x, weights, rate, spent = _methods.population(call, settings, problem, distance)
        return x[None], weights, rate, spent

    timed("ABC, rejection", by_rejection)
    if settings.with_population:
        timed("ABC, population", by_population)
    if "chains" not in plan(settings, problem):
        return found
    at = jax.jit(lambda key, theta: distance(problem.simulate(key, theta)))
    keys = jax.random.split(jax.random.fold_in(key, 4), len(kept["theta"]))
    tolerance = max(float(np.quantile(jax.vmap(at)(keys, kept["theta"]), 0.25)), 1e-3)

    def by_chains():
        call = jax.random.fold_in(key, 5)
        x, rate, spent = _methods.abc_chain(
            call, settings, problem, distance, tolerance, kept["theta"]
        )
        return x, None, rate, spent

    timed("ABC, chains", by_chains)
    return found


def fall(problem, thetas, settings):
    """What ABC finds when it keeps so many."""
    return {
        "pattern": problem.name,
        "kept": len(thetas) / settings.simulations,
        "log beta": float(thetas[:, 0].mean()),
        "gamma": float(thetas[:, 1].mean()),
        "log beta error": float(thetas[:, 0].std() / len(thetas) ** 0.5),
        "gamma error": float(thetas[:, 1].std() / len(thetas) ** 0.5),
    }


def moments(found):
    """Means, errors and deviations [2]: errors from independent chains, or effective draws."""
    flat = found.thetas.reshape(-1, 2)
    if found.weights is None:
        means = found.thetas.mean(1)
        return flat.mean(0), means.std(0, ddof=1) / len(means) ** 0.5, flat.std(0)
    mean = found.weights @ flat
    deviation = np.sqrt(found.weights @ (flat - mean) ** 2)
    return mean, deviation * np.sqrt(np.sum(found.weights**2)), deviation


def row(problem, found):
    """A method's posterior; off: from the truth in errors, where known."""
    mean, error, deviation = moments(found)
    told = {"pattern": problem.name, "method": found.method}
    for i, each in enumerate(("log beta", "gamma")):
        truth = None if problem.truth is None else [float(known[i]) for known in problem.truth]
        told |= {
            each: float(mean[i]),
            f"{each} error": float(error[i]),
            f"{each} sd": float(deviation[i]),
            f"{each} truth": truth[0] if truth else "",
            f"{each} true sd": truth[1] if truth else "",
            f"{each} off": f"{(mean[i] - truth[0]) / error[i]:+.1f}" if truth else "",
        }
    told |= {"accepted": found.accepted, "simulations": found.simulations}
    return told | {"seconds": found.seconds}


def check(problem, model, note, tests):
    """The p-values of a fitted model."""
    told = {"pattern": problem.name, "radius": problem.radius, "model": model, "note": note}
    return told | {f"p of {curve}": p for curve, (p, *_) in tests.items()}


def tell(rows, checks):
    """Prints the tables."""
    for each in rows:
        print(
            f"{each['pattern']:8s} {each['method']:16s} log beta {each['log beta']:.3f} +- "
            f"{each['log beta error']:.3f} (sd {each['log beta sd']:.3f}) {each['log beta off']:>5}"
            f"  gamma {each['gamma']:.3f} +- {each['gamma error']:.3f} (sd {each['gamma sd']:.3f}) "
            f"{each['gamma off']:>5}  accepted {each['accepted']:.2f}  "
            f"{each['simulations']} simulations, {each['seconds']:.0f} s"
        )
    for each in checks:
        print(
            f"{each['pattern']:8s} {each['model']:13s} p of L {each['p of L']:.4f}, of G "
            f"{each['p of G']:.4f}  ({each['note']}, radius {each['radius']:.4f})"
        )
