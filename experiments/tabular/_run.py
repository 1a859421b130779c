"""A whole run: the table, its picture, and the circle; user errors end in exit code 2."""

import dataclasses
import itertools
import json
import pathlib
import time

import numpy as np
from tqdm import tqdm

from experiments._command import ended
from experiments._rows import write_csv
from experiments.tabular import _classical, _figures, _learned, _manifold, _sets, _settings

MIXTURE = "mixture"


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.tabular", run, argv)


def run(argv) -> None:
    """The comparison that command-line words ask for."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    if not settings.only_manifold:
        tables(settings, folder)
    if settings.manifold or settings.only_manifold:
        _manifold.write(settings, folder)


def tables(settings, folder):
    """tabular.csv, stops.csv and tabular.png."""
    rows, curves = [], []
    flows, diffusions = 1 + settings.flow_from_normal, 1 + settings.diffusion_from_normal
    steps = flows * settings.flow_steps + diffusions * settings.net_steps
    total = len(settings.sets) * (steps + (flows + diffusions) * settings.check)
    with tqdm(total=total, desc="training", unit=" steps", mininterval=5) as bar:
        for name in settings.sets:
            found, stops = resumed(folder / f"{name}.json", name, settings, bar)
            rows += found
            curves += stops
            write_csv(folder / "tabular.csv", rows)
    write_csv(folder / "stops.csv", curves)
    _figures.table(folder / "tabular.png", rows)
    for row in rows:
        print(
            f"{row['set']:9s} {row['model']:32s} {row['nats']:8.3f} +- {row['error']:.3f}   "
            f"above the mixture {row['above']:+.3f} +- {row['above error']:.3f}   {row['chosen']}"
        )
    print(f"  {folder}/tabular.csv\n  {folder}/stops.csv\n  {folder}/tabular.png")


def resumed(path, name, settings, bar):
    """What `compared` finds for a set, read back when it was found before under these settings."""
    fields = dataclasses.asdict(settings) | {"run": "", "sets": "", "only_manifold": ""}
    stamp = json.loads(json.dumps(fields | {"manifold": "", "circle_steps": ""}))
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["settings"] == stamp:
            return kept["rows"], kept["curves"]
    start = time.perf_counter()
    rows, curves = compared(name, settings, bar.update)
    kept = {"settings": stamp, "rows": rows, "curves": curves}
    path.write_text(json.dumps(kept | {"seconds": time.perf_counter() - start}, indent=1))
    return rows, curves


def compared(name, settings, on_step):
    """Rows of the table for a set, and the validation curves of what was learned."""
    folds = _sets.folds(name)
    with _classical.one_thread():
        candidates = list(_classical.mixtures(folds, settings.components))
        kernel = _classical.best(_classical.kernels(folds))
    mixture = _classical.best(candidates)
    normal = _classical.best([each for each in candidates if each.label.startswith("1 ")])
    tests = {
        "normal": (normal.label, normal.test),
        MIXTURE: (mixture.label, mixture.test),
        "kernels": (kernel.label, kernel.test),
    }
    curves, dim = [], folds[0].train.shape[1]
    starts = {"": normal, ", from mixture": mixture}
    builds = {
        "spline flow": (_learned.spline_flow, settings.flow_rate, settings.flow_steps),
        "diffusion": (_learned.diffusion, settings.net_rate, settings.net_steps),
    }
    for kind, start in itertools.product(builds, starts):
        build, rate, steps = builds[kind]
        from_normal = {
            "spline flow": settings.flow_from_normal,
            "diffusion": settings.diffusion_from_normal,
        }
        if not start and not from_normal[kind]:
            continue
        model, models = build(dim, settings), starts[start].models
        fitted = _learned.fit(model, folds, models, settings, rate, steps, on_step)
        for label, test in fitted.test.items():
            tests[label + start] = (f"stopped at {fitted.stopped}", test)
        curves += [
            {"set": name, "model": kind + start, "step": n, "validation nats": value}
            for n, value in fitted.curve
        ]
    return [row(name, model, folds, *tests[model], tests[MIXTURE][1]) for model in tests], curves


def row(name, model, folds, chosen, test, mixture):
    """The mean log density of all rows when tested, and of its excess over the mixture's."""
    scales = [fold.log_scale for fold in folds]
    values = np.concatenate([part + scale for part, scale in zip(test, scales, strict=True)])
    above = np.concatenate(test) - np.concatenate(mixture)
    error = lambda x: float(x.std(ddof=1) / len(x) ** 0.5)
    return {
        "set": name,
        "model": model,
        "nats": float(values.mean()),
        "error": error(values),
        "above": float(above.mean()),
        "above error": error(above),
        "rows": len(values),
        "chosen": chosen,
    }
