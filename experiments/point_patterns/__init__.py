"""Posteriors of Strauss' process by exchange, noisy Metropolis-Hastings and ABC.

`python -m experiments.point_patterns --help` explains every setting; README.md says what was
measured. `smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.point_patterns._run import main

    smoked("experiments.point_patterns", main)
