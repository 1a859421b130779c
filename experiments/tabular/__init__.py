"""Density estimation on small real tables, side by side; and overfitting on a manifold.

`python -m experiments.tabular --help` explains every setting; README.md says what was measured.
`smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.tabular._run import main

    smoked("experiments.tabular", main)
