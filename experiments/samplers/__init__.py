"""Every sampler on problems with known answers: error against evaluations, orders, and cost.

`python -m experiments.samplers --help` explains every setting; README.md says what was measured.
`smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.samplers._run import main

    smoked("experiments.samplers", main)
