"""The whole configuration of a run."""

import dataclasses

from experiments._settings import read
from experiments.metrics._rooms import ROOMS, STUDIES


@dataclasses.dataclass(frozen=True)
class Settings:
    """Estimators against known distances, and studies of single claims; CSV and PNG."""

    run: str = "runs/metrics"
    """Folder of the results; a run that was interrupted goes on from what lies there."""
    smoke: bool = False
    """The smallest size: seconds."""
    rooms: tuple[str, ...] = tuple(ROOMS)
    """Whose estimators are measured; see --list."""
    studies: tuple[str, ...] = tuple(STUDIES)
    """Which studies run; see --list."""
    only: str = ""
    """One study and nothing else."""
    estimators: bool = True
    """Also measure bias, spread and cost of every estimator."""
    list: bool = False
    """Print what there is, and stop."""
    repeats: int = 0
    """Repeats of every estimate; 0: each estimator's own number."""
    seed: int = 0
    """Of all randomness."""


SMOKE = {"repeats": 4}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "metrics", argv)
    for field, known in (("rooms", ROOMS), ("studies", STUDIES)):
        unknown = [word for word in getattr(given, field) if word not in known]
        if unknown:
            raise ValueError(
                f"settings: {field} must be among {', '.join(known)}; got {', '.join(unknown)}"
            )
    if given.only and given.only not in STUDIES:
        raise ValueError(f"settings: only must be among {', '.join(STUDIES)}; got {given.only}")
    if given.repeats < 0 or given.repeats == 1:
        raise ValueError(f"settings: repeats must be 0 or at least 2; got {given.repeats}")
    return given
