"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read

STUDIES = ("ar1", "sp500", "nasdaq")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Plain against mean-field descent; a CSV of measurements, and PNG."""

    run: str = "runs/microcanonical"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    studies: tuple[str, ...] = STUDIES
    """Studies, among ar1, sp500, nasdaq (the last two read the package arch)."""
    ar_length: int = 32
    """Length of an AR(1) series."""
    ar_particles: int = 32
    """Series that descend, together or alone."""
    ar_steps: int = 250
    """Steps of the descent."""
    length: int = 64
    """Length of a window of returns."""
    particles: int = 32
    """Series that descend."""
    steps: int = 250
    """Steps of the descent."""
    seed: int = 0
    """Of all randomness."""


SMOKE = {
    "ar_length": 12,
    "ar_particles": 4,
    "ar_steps": 3,
    "length": 32,
    "particles": 3,
    "steps": 2,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    smoke = SMOKE | {"studies": STUDIES[:2]}
    given = read(Settings, smoke, "microcanonical", argv)
    names(given, studies=STUDIES)
    at_least(given, **(dict.fromkeys(SMOKE, 2) | {"ar_length": 12, "length": 32}))
    return given
