"""One network that maps any Gaussian-mixture prior and an observation to the posterior.

`python -m experiments.posterior_maps --help` explains every setting; README.md says what was
measured. `smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.posterior_maps._run import main

    smoked("experiments.posterior_maps", main)
