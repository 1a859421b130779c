"""A whole run, study by study; a study found under the same settings is read back."""

import dataclasses
import pathlib

import jax

from experiments._command import ended
from experiments._kept import kept
from experiments._rows import write_csv
from experiments.microcanonical import _ar1, _returns, _settings

STUDIES = {"ar1": _ar1.study, "sp500": _returns.study, "nasdaq": _returns.study}


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.microcanonical", run, argv)


def run(argv) -> None:
    """The studies that command-line words ask for: microcanonical.csv and a picture each."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in settings.studies:
        found = resumed(folder / f"{name}.json", name, settings, folder)
        for row in found:
            print(
                f"{row['study']:7s} {row['quantity']:54s} {row['method']:11s} "
                f"{row['value']:>11.5g} +- {row['error']:.2g}"
            )
        rows += found
        write_csv(folder / "microcanonical.csv", rows)
    print(f"  {folder}/microcanonical.csv")


def resumed(path, name, settings, folder):
    """The rows of a study, read back when they were found before under these settings."""
    stamp = dataclasses.asdict(settings) | {"run": "", "studies": ""}
    return kept(path, stamp, lambda: studied(name, settings, folder))


def studied(name, settings, folder):
    """The rows of a study."""
    with jax.enable_x64(True):
        found = STUDIES[name](name, settings, folder)
    return [
        {
            "study": name,
            "quantity": quantity,
            "method": method,
            "value": float(value),
            "error": float(error),
        }
        for quantity, method, value, error in found
    ]
