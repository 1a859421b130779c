"""Samplers of a density known up to a constant, on modes eight deviations apart.

`python -m experiments.unnormalised --help` explains every setting; README.md says what was
measured. `smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.unnormalised._run import main

    smoked("experiments.unnormalised", main)
