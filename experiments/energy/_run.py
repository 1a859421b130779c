"""A whole run, study by study."""

import jax

from experiments._command import ended
from experiments._studies import run_studies
from experiments.energy import (
    _digits,
    _grid,
    _hybrid,
    _ladder,
    _marginals,
    _mean,
    _memory,
    _settings,
)

STUDIES = {
    "grid": _grid.study,
    "mean": _mean.study,
    "memory": _memory.study,
    "hybrid": _hybrid.study,
    "ladder": _ladder.study,
    "digits": _digits.study,
    "marginals": _marginals.study,
}


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.energy", run, argv)


def run(argv) -> None:
    """The studies that command-line words ask for: energy.csv and a picture each."""
    run_studies("energy.csv", _settings.parse(argv), rows_of)


def rows_of(name, settings, folder):
    """The rows of a study."""
    with jax.enable_x64(name in ("grid", "memory")):
        found = STUDIES[name](settings, folder)
    return [
        {
            "quantity": quantity,
            "claimed": str(claimed),
            "measured": float(measured),
            "error": float(error),
        }
        for quantity, claimed, measured, error in found
    ]
