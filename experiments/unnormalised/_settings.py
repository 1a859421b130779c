"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, read


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare samplers of a two-mode density known up to a constant; CSV and PNG."""

    run: str = "runs/unnormalised"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    dims: tuple[int, ...] = (2, 16)
    """Dimensions of the target."""
    samplers: tuple[str, ...] = ()
    """Only these, by their names in the table; all when none."""
    repeats: int = 5
    """Independent runs of each sampler."""
    chains: int = 400
    """Chains of ULA and MALA, and draws of the reversed diffusions."""
    moves: int = 1000
    """Steps of a chain of ULA and MALA."""
    nuts_chains: int = 100
    """Chains of NUTS."""
    nuts_moves: int = 100
    """Steps of a chain of NUTS."""
    stops: int = 30
    """Steps of the reversed diffusions."""
    inner: int = 1000
    """Draws of each estimate of a score."""
    candidates: int = 4000
    """Candidates of the ensemble, and draws of a round of its fit."""
    particles: int = 2000
    """Particles of sequential Monte Carlo."""
    replicas: int = 12
    """Exponents of parallel tempering."""
    seed: int = 0
    """Of all randomness."""


SMOKE = {
    "dims": (2,),
    "samplers": ("MALA", "rdMC, importance", "tempered SMC"),
    "repeats": 2,
    "chains": 20,
    "moves": 20,
    "nuts_chains": 4,
    "nuts_moves": 4,
    "stops": 8,
    "inner": 20,
    "candidates": 200,
    "particles": 100,
    "replicas": 4,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "unnormalised", argv)
    if not given.dims or min(given.dims) < 1:
        raise ValueError(f"settings: dims must be at least 1; got {given.dims}")
    low = {"repeats": 2, "inner": 2, "candidates": 2, "particles": 2, "replicas": 3}
    ones = ("chains", "moves", "nuts_chains", "nuts_moves", "stops")
    at_least(given, **(dict.fromkeys(ones, 1) | low))
    return given
