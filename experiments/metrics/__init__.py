"""Instruments on trial: every estimator against a known distance, and studies of single claims.

`python -m experiments.metrics --help` explains every setting; README.md says what was measured.
`smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.metrics._run import main

    smoked("experiments.metrics", main)
