"""A whole run: two patterns, four methods, a table and a picture."""

import pathlib
import time

import jax
import numpy as np
from tqdm import tqdm

from experiments._command import ended
from experiments._rows import write_csv
from experiments.point_patterns import _figures, _methods, _problems, _settings


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.point_patterns", run, argv)


def run(argv) -> None:
    """What command-line words ask for: point_patterns.csv and .png, tolerance.csv."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    rows, falls, shown = [], [], []
    with tqdm(
        total=(3 + settings.with_noisy + settings.with_abc_chains) * len(settings.patterns),
        desc="methods",
    ) as bar:
        for name in settings.patterns:
            problem = getattr(_problems, name)(settings)
            found = posteriors(settings, problem, falls, bar)
            rows += [row(problem, *each) for each in found]
            shown.append((problem, {name: x for name, x, *_ in found}))
            write_csv(folder / "point_patterns.csv", rows)
    write_csv(folder / "tolerance.csv", falls)
    _figures.draw(folder / "point_patterns.png", shown, falls)
    for each in rows:
        print(
            f"{each['pattern']:6s} {each['method']:16s} log beta {each['log beta']:.3f} +- "
            f"{each['log beta error']:.3f} (sd {each['log beta sd']:.3f}) {each['log beta off']:>5}"
            f"  gamma {each['gamma']:.3f} +- {each['gamma error']:.3f} (sd {each['gamma sd']:.3f}) "
            f"{each['gamma off']:>5}  accepted {each['accepted']:.2f}  "
            f"{each['simulations']} simulations, {each['seconds']:.0f} s"
        )
    print(f"  {folder}/point_patterns.csv\n  {folder}/tolerance.csv\n  {folder}/point_patterns.png")


def posteriors(settings, problem, falls, bar):
    """[(method, thetas [chains, n, 2], acceptance, simulations, seconds)]; falls gains ABC's."""
    key = jax.random.key(settings.seed + 7)
    found = []

    def timed(name, work):
        start = time.perf_counter()
        found.append((name, *work(), time.perf_counter() - start))
        bar.update()

    for i, (name, method) in enumerate(
        {"exchange": _methods.exchange, "noisy": _methods.noisy}.items()
    ):
        if name == "noisy" and not settings.with_noisy:
            continue
        timed(name, lambda m=method, i=i: m(jax.random.fold_in(key, i), settings, problem))
    thetas, features = _methods.simulated(jax.random.fold_in(key, 2), settings, problem)
    distance = _methods.distance_of(problem, thetas, features)
    bar.update()
    kept = {}

    def by_rejection():
        call = jax.random.fold_in(key, 3)
        most, _ = _methods.rejection(call, settings, problem, distance, settings.simulations // 3)
        theta = most[: settings.keep]
        for keep in sorted({len(most), len(most) // 4, settings.keep}, reverse=True):
            falls.append(fall(problem, most[:keep], settings))
        kept["theta"] = theta
        return theta[:, None], settings.keep / settings.simulations, settings.simulations

    timed("ABC, rejection", by_rejection)
    if not settings.with_abc_chains:
        return found
    at = jax.jit(lambda key, theta: distance(problem.simulate(key, theta)))
    keys = jax.random.split(jax.random.fold_in(key, 4), len(kept["theta"]))
    tolerance = max(float(np.quantile(jax.vmap(at)(keys, kept["theta"]), 0.25)), 1e-3)
    timed(
        "ABC, chains",
        lambda: _methods.abc_chain(
            jax.random.fold_in(key, 5), settings, problem, distance, tolerance, kept["theta"]
        ),
    )
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


def row(problem, name, x, rate, simulations, seconds):
    """Means with errors from independent chains; off: from the truth in errors, where known."""
    means = x.mean(1)
    errors = means.std(0, ddof=1) / len(means) ** 0.5
    flat = x.reshape(-1, 2)
    found = {"pattern": problem.name, "method": name}
    for i, each in enumerate(("log beta", "gamma")):
        off = ""
        if problem.truth is not None:
            off = f"{(flat[:, i].mean() - problem.truth[0][i]) / errors[i]:+.1f}"
        found |= {
            each: float(flat[:, i].mean()),
            f"{each} error": float(errors[i]),
            f"{each} sd": float(flat[:, i].std()),
            f"{each} truth": "" if problem.truth is None else float(problem.truth[0][i]),
            f"{each} true sd": "" if problem.truth is None else float(problem.truth[1][i]),
            f"{each} off": off,
        }
    return found | {"accepted": rate, "simulations": simulations, "seconds": seconds}
