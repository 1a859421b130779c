"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read

STUDIES = ("grid", "mean", "memory", "hybrid", "ladder")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Energies against exact answers; a CSV of claims and measurements, and PNG."""

    run: str = "runs/energy"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size, in seconds: no networks unless --studies asks for them."""
    studies: tuple[str, ...] = STUDIES
    """Studies, among grid, mean, memory, hybrid, ladder."""
    draws: int = 4000
    """Chains of the grid: of annealing, and of each contrastive gradient."""
    rungs: int = 96
    """Exponents of the annealing."""
    mean_steps: int = 100
    """Steps of the fits of a mean, at most."""
    mean_batch: int = 32768
    """Data, and draws of the noise, in each of them."""
    hybrid_steps: int = 800
    """Training steps of a residual."""
    ladder_steps: int = 2000
    """Training steps of the ladder."""
    ladder_batch: int = 192
    """Points in each of them."""
    ladder_width: int = 48
    """Hidden units of its energies and of its guesses."""
    ladder_draws: int = 4000
    """Samples from it."""
    seed: int = 0
    """Of all randomness."""


SMOKE = {
    "studies": ("grid", "mean", "memory"),  # networks take long to compile
    "draws": 100,
    "rungs": 2,
    "mean_steps": 3,
    "mean_batch": 32,
    "hybrid_steps": 3,
    "ladder_steps": 2,
    "ladder_batch": 8,
    "ladder_width": 8,
    "ladder_draws": 50,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "energy", argv)
    names(given, studies=STUDIES)
    at_least(given, **dict.fromkeys(set(SMOKE) - {"studies"}, 2))
    return given
