"""What a room hands to the experiment: estimators with known answers, and studies of their own.

A room is a module of this folder with `ESTIMATORS` and `STUDIES`, and one line in `_rooms.py`.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Estimator(NamedTuple):
    """An estimator on a pair of laws whose distance is known.

    The engine draws independent repeats, jitted and mapped over keys, and reports the bias in
    standard errors, the spread, its rate in n, and milliseconds for one estimate.
    """

    name: str  # as users call it, "metrics.mmd2"
    case: str  # the pair of laws, "N(0, I) against N(1, I), rbf of bandwidth 1"
    estimate: Callable[[Any, int, int], Any]  # (key, n, d) -> [], pure: n and d are static
    truth: Callable[[int], float]  # d -> the exact value
    sizes: tuple[int, ...] = (64, 256, 1024)  # n, rising
    dims: tuple[int, ...] = (2, 16)  # d
    repeats: int = 64  # of one estimate, at every n and d
    unbiased: bool = False  # claimed: then the report checks it


class Study(NamedTuple):
    """A table and a figure of its own."""

    name: str  # of its files, "bessel"
    claim: str  # one sentence: what was claimed, and what the table shows
    rows: Callable[[bool, int], list[dict]]  # (smoke, seed) -> lines of one shape; smoke: seconds
    figure: Callable[[pathlib.Path, list[dict]], None]  # writes one PNG from the rows
