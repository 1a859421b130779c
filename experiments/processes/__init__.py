"""Noising processes side by side: likelihood, sampling, mixing, and one network under all of them.

`python -m experiments.processes --help` explains every setting; README.md says what was measured.
`smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.processes._run import main

    smoked("experiments.processes", main)
