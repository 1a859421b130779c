"""A whole run, study by study; a study found under the same settings is read back."""

import dataclasses
import pathlib

import jax

from experiments._command import ended
from experiments._kept import kept
from experiments._rows import write_csv
from experiments.energy import _grid, _hybrid, _ladder, _mean, _memory, _settings

STUDIES = {
    "grid": _grid.study,
    "mean": _mean.study,
    "memory": _memory.study,
    "hybrid": _hybrid.study,
    "ladder": _ladder.study,
}


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.energy", run, argv)


def run(argv) -> None:
    """The studies that command-line words ask for: energy.csv and a picture each."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in settings.studies:
        found = resumed(folder / f"{name}.json", name, settings, folder)
        for row in found:
            print(
                f"{row['study']:7s} {row['quantity']:58s} claimed {row['claimed']:>12s}   "
                f"measured {row['measured']:>10.5g} +- {row['error']:.2g}"
            )
        rows += found
        write_csv(folder / "energy.csv", rows)
    print(f"  {folder}/energy.csv")


def resumed(path, name, settings, folder):
    """The rows of a study, read back when they were found before under these settings."""
    stamp = dataclasses.asdict(settings) | {"run": "", "studies": ""}
    return kept(path, stamp, lambda: studied(name, settings, folder))


def studied(name, settings, folder):
    """The rows of a study."""
    with jax.enable_x64(name in ("grid", "memory")):
        found = STUDIES[name](settings, folder)
    return [
        {
            "study": name,
            "quantity": quantity,
            "claimed": str(claimed),
            "measured": float(measured),
            "error": float(error),
        }
        for quantity, claimed, measured, error in found
    ]
