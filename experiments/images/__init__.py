"""The main job: a small diffusion model of real images, sampled in 5, 10 and 20 evaluations.

`python -m experiments.images --help` explains every setting; README.md says what was measured.
`smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything on 8 x 8 digits in a temporary folder; raises RuntimeError if it fails."""
    from experiments._command import smoked
    from experiments.images._run import main

    smoked("experiments.images", main)
