"""The whole configuration of a run."""

import dataclasses

import tyro

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
    name = "python -m experiments.microcanonical"
    given = tyro.cli(Settings, args=argv, prog=name)
    if given.smoke:
        base = dataclasses.replace(Settings(), smoke=True, studies=STUDIES[:2], **SMOKE)
        given = tyro.cli(Settings, args=argv, default=base, prog=name)
    unknown = [word for word in given.studies if word not in STUDIES]
    if unknown or not given.studies:
        got = ", ".join(unknown) or "none"
        raise ValueError(f"settings: studies must be among {', '.join(STUDIES)}; got {got}")
    for field in SMOKE:
        least = {"ar_length": 12, "length": 32}.get(field, 2)
        if getattr(given, field) < least:
            raise ValueError(
                f"settings: {field} must be at least {least}; got {getattr(given, field)}"
            )
    return given
