"""What is on trial: the estimators and studies of every room, by name."""

from types import ModuleType

from experiments.metrics import (
    _bessel,
    _calibration,
    _collapse,
    _currents,
    _derivatives,
    _diversity,
    _importance,
    _information,
    _outliers,
    _pairwise,
    _sliced,
    _transport,
    _two_sample,
    _weighted,
)

# name: its module in this folder, one line a room
MODULES: dict[str, ModuleType] = {
    "bessel": _bessel,
    "calibration": _calibration,
    "collapse": _collapse,
    "currents": _currents,
    "derivatives": _derivatives,
    "diversity": _diversity,
    "importance": _importance,
    "information": _information,
    "outliers": _outliers,
    "pairwise": _pairwise,
    "sliced": _sliced,
    "transport": _transport,
    "two_sample": _two_sample,
    "weighted": _weighted,
}

ROOMS = {name: (module.ESTIMATORS, module.STUDIES) for name, module in MODULES.items()}
STUDIES = {each.name: each for _, studies in ROOMS.values() for each in studies}
