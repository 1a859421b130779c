"""Time series by microcanonical gradient descent, plain and mean-field, with entropy counted.

`python -m experiments.microcanonical --help` explains every setting; README.md says what was
measured. `smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.microcanonical._run import main

    smoked("experiments.microcanonical", main)
