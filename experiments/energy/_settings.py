"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read

STUDIES = ("grid", "mean", "memory", "hybrid", "ladder", "digits", "marginals")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Energies against exact answers; a CSV of claims and measurements, and PNG."""

    run: str = "runs/energy"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size, in seconds: no networks unless --studies asks for them."""
    studies: tuple[str, ...] = STUDIES
    """Studies, among grid, mean, memory, hybrid, ladder, digits, marginals."""
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
    digits_steps: int = 4000
    """Training steps of the energies of digits."""
    digits_diffusion_steps: int = 12000
    """Training steps of the diffusion model that they are compared with."""
    digits_batch: int = 120
    """Images in each of them."""
    digits_width: int = 160
    """Hidden units of the diffusion model."""
    digits_energy_width: int = 160
    """Hidden units of the energies, and of their guesses."""
    digits_features: int = 600
    """Training steps of the classifier whose features judge."""
    digits_rungs: int = 900
    """Exponents of the annealing down the ladder."""
    digits_chains: int = 60
    """Its chains, one way and the other."""
    digits_exact: int = 80
    """Images whose log-density is annealed rung by rung, and computed for the diffusion model."""
    digits_guided: int = 200
    """Samples for every weight of guidance, of two classes at once, and of halves filled in."""
    marginal_steps: int = 1500
    """Training steps of the marginals of the grid."""
    marginal_draws: int = 256
    """Draws in each of them."""
    marginal_width: int = 64
    """Hidden units of its networks."""
    marginal_learned: bool = False
    """Learn the marginals of whole states too, instead of reading them from the energy."""
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
    "digits_steps": 2,
    "digits_diffusion_steps": 2,
    "digits_batch": 6,
    "digits_width": 8,
    "digits_energy_width": 8,
    "digits_features": 2,
    "digits_rungs": 2,
    "digits_chains": 4,
    "digits_exact": 2,
    "digits_guided": 20,
    "marginal_steps": 2,
    "marginal_draws": 4,
    "marginal_width": 8,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "energy", argv)
    names(given, studies=STUDIES)
    at_least(given, **dict.fromkeys(set(SMOKE) - {"studies"}, 2))
    return given
