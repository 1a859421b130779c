"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read

STUDIES = ("quadratic", "plain")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Posteriors of random mixtures by one network, against exact ones; CSV and PNG."""

    run: str = "runs/posterior_maps"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    studies: tuple[str, ...] = STUDIES
    """Heads of the network: quadratic in the residual, or plain."""
    steps: int = 5000
    """Training steps."""
    batch: int = 256
    """Problems in each of them."""
    width: int = 64
    """Numbers of a token."""
    problems: int = 1000
    """Problems to measure on."""
    draws: int = 200
    """Draws of each exact posterior."""
    chains: int = 200
    """Filters of ten observations each."""
    seed: int = 0
    """Of all randomness."""


SMOKE = {"studies": ("quadratic",), "steps": 3, "batch": 4, "width": 8}
SMOKE |= {"problems": 4, "draws": 4, "chains": 2}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "posterior_maps", argv)
    names(given, studies=STUDIES)
    at_least(given, **dict.fromkeys(("steps", "batch", "problems", "draws", "chains"), 2), width=4)
    return given
