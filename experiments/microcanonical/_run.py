"""A whole run, study by study."""

import jax

from experiments._command import ended
from experiments._studies import run_studies
from experiments.microcanonical import _ar1, _returns, _settings

STUDIES = {"ar1": _ar1.study, "sp500": _returns.study, "nasdaq": _returns.study}


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.microcanonical", run, argv)


def run(argv) -> None:
    """The studies that command-line words ask for: microcanonical.csv and a picture each."""
    run_studies("microcanonical.csv", _settings.parse(argv), rows_of)


def rows_of(name, settings, folder):
    """The rows of a study."""
    with jax.enable_x64(True):
        found = STUDIES[name](name, settings, folder)
    return [
        {"quantity": quantity, "method": method, "value": float(value), "error": float(error)}
        for quantity, method, value, error in found
    ]
