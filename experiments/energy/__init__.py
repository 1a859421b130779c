"""Models known up to a constant: normalisers, gradients, residuals, memories, ladders of noise.

`python -m experiments.energy --help` explains every setting; README.md says what was measured.
`smoke()` runs what needs no network in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs the smallest size in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.energy._run import main

    smoked("experiments.energy", main)
