"""A whole run: estimators, then studies; user errors become one line and exit code 2."""

import pathlib
import time

import jax
from tqdm import tqdm

from experiments._command import ended
from experiments._kept import kept
from experiments._rows import write_csv
from experiments.metrics import _engine, _figures, _settings
from experiments.metrics._rooms import ROOMS, STUDIES


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.metrics", run, argv)


def run(argv) -> None:
    """The trial that command-line words ask for."""
    settings = _settings.parse(argv)
    if settings.list:
        for room, (estimators, studies) in ROOMS.items():
            names = ", ".join(dict.fromkeys(each.name for each in estimators))
            print(f"{room}: studies {', '.join(each.name for each in studies)}; {names}")
        return
    folder = pathlib.Path(settings.run)
    (folder / "kept").mkdir(parents=True, exist_ok=True)
    with jax.enable_x64(True):
        if settings.estimators and not settings.only:
            all_estimators(settings, folder)
        for name in (settings.only,) if settings.only else settings.studies:
            study(STUDIES[name], settings, folder)


def all_estimators(settings, folder):
    """estimators.csv and estimators.png: every estimator of the rooms asked for."""
    todo = [(room, each) for room in settings.rooms for each in ROOMS[room][0]]
    if not todo:
        return
    rows = []
    for index, (room, each) in enumerate(tqdm(todo, desc="estimators", mininterval=5)):
        make = lambda each=each: _engine.measured(
            each, repeats=settings.repeats, seed=settings.seed, smoke=settings.smoke
        )
        label = stamp([each.name, each.case], settings)
        found = kept(folder / "kept" / f"{room}-{index}.json", label, make)
        rows += [{"room": room} | row for row in found]
        write_csv(folder / "estimators.csv", rows)
    _figures.errors(folder / "estimators.png", rows)
    broken = [row for row in rows if not (row["kept"] and row["finite"])]
    for row in broken:
        print(
            f"{row['estimator']} ({row['case']}, d = {row['d']}, n = {row['n']}): bias "
            f"{row['bias']:.3g} +- {row['bias error']:.3g}, finite: {row['finite']}"
        )
    print(f"estimators: {len(rows)} rows, {len(broken)} that break a claim")
    print(f"  {folder}/estimators.csv\n  {folder}/estimators.png")


def study(each, settings, folder):
    """NAME.csv and NAME.png of a study."""
    print(f"{each.name}: {each.claim}", flush=True)
    start = time.perf_counter()
    make = lambda: each.rows(settings.smoke, settings.seed)
    rows = kept(folder / "kept" / f"{each.name}.json", stamp(each.name, settings), make)
    write_csv(folder / f"{each.name}.csv", rows)
    each.figure(folder / f"{each.name}.png", rows)
    seconds = time.perf_counter() - start
    print(f"  {folder}/{each.name}.csv\n  {folder}/{each.name}.png ({seconds:.0f} s)")


def stamp(name, settings):
    """What the rows of a study or an estimator depend on."""
    return [name, settings.smoke, settings.repeats, settings.seed]
