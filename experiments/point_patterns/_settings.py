"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read
from experiments.point_patterns import _real

SIMULATED = ("whole", "short")
DEFAULT = (*SIMULATED, "towns", "juvenile")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Infer the intensity and the repulsion of point patterns without a likelihood; CSV and PNG."""

    run: str = "runs/point_patterns"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    patterns: tuple[str, ...] = ()
    """Patterns: whole, where all points interact and the posterior is known by sums; short; and the
    real ones towns, juvenile, burkitt, crimes. None named: the first four, without those whose
    package is not installed."""
    beta: float = 40.0
    """Intensity that the pattern is simulated with, on the unit square."""
    gamma: float = 0.3
    """Factor of each close pair that it is simulated with."""
    radius: float = 0.1
    """Distance within which pairs are close; known to all methods."""
    capacity: int = 96
    """Most points of a pattern."""
    inner_steps: int = 800
    """Steps of births and deaths in a simulation."""
    chains: int = 16
    """Chains of each method."""
    steps: int = 300
    """Steps of a chain of exchange, a sixth of them left out."""
    with_noisy: bool = True
    """Also noisy Metropolis-Hastings."""
    with_abc_chains: bool = True
    """Also chains of ABC."""
    with_population: bool = True
    """Also ABC's weighted population."""
    noisy: int = 6
    """Simulations in a step of noisy Metropolis-Hastings, whose chains are `noisy` times shorter
    than `noisy_budget`."""
    noisy_budget: int = 900
    """Simulations of one chain of noisy Metropolis-Hastings."""
    simulations: int = 6000
    """Simulations of ABC by rejection; as many of ABC's chains, together."""
    keep: int = 150
    """Simulations that ABC keeps."""
    criticised: int = 199
    """Patterns simulated from each fitted model, to see whether it looks like a real one; ten times
    as many without interaction."""
    with_determinantal: bool = True
    """Also a determinantal process, on the towns."""
    seed: int = 0
    """Of the pattern and of all chains."""


SMOKE = {
    "patterns": ("short",),
    "with_noisy": False,
    "with_abc_chains": False,
    "with_population": False,
    "beta": 15.0,
    "capacity": 40,
    "inner_steps": 40,
    "chains": 4,
    "steps": 24,
    "noisy": 2,
    "noisy_budget": 24,
    "simulations": 100,
    "keep": 10,
    "criticised": 19,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "point_patterns", argv)
    least = {"capacity": 2, "inner_steps": 1, "chains": 2, "steps": 12, "noisy": 1, "keep": 2}
    least["criticised"] = 19
    at_least(given, **least, noisy_budget=12 * given.noisy, simulations=10)
    if not 0 <= given.seed < 2**31:
        raise ValueError(f"settings: seed must lie in 0 ... 2^31 - 1; got {given.seed}")
    if given.patterns:
        names(given, patterns=(*SIMULATED, *_real.NAMES))
    for name, low, high in (("beta", 0, float("inf")), ("gamma", 0, 1), ("radius", 0, 1)):
        got = getattr(given, name)
        if not (low <= got <= high and got < float("inf")) or (name == "beta" and got == 0):
            ends = {"beta": "(0, inf)"}.get(name, f"[{low}, {high}]")
            raise ValueError(f"settings: {name} must lie in {ends}; got {got}")
    if given.keep > given.simulations:
        raise ValueError(
            f"settings: keep must be at most simulations; got {given.keep} of {given.simulations}"
        )
    return given
