"""Which sampler for how many evaluations: a measured table."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from jaxgen import grids
from jaxgen.processes import num_blocks
from jaxgen.solvers import exponential

_AB = "adams_bashforth"
_DATA_T3 = (_AB, {"order": 3, "hold": "x0", "clock": "t"}, "power", {"rho": 3.0})
_TAB2 = (_AB, {"order": 2, "hold": "eps", "clock": "t"}, "cosine", {})
_TAB3 = (_AB, {"order": 3, "hold": "eps", "clock": "t"}, "power", {"rho": 3.0})
_RHO3 = (_AB, {"order": 3, "hold": "eps", "clock": "rho"}, "power", {"rho": 3.0})
_AM4 = ("adams_moulton", {"order": 4}, "log_snr", {})
_AB4 = (_AB, {"order": 4, "hold": "x0", "clock": "log_snr"}, "log_snr", {})
_IPNDM = ("ipndm", {}, "cosine", {})
# (scalar or block, guided) -> {evaluations: (method, options, grid, its options, error / best)}, as
# `python -m experiments.samplers --dims 2 16 --starts 32 --solution-steps 400` measured it: the
# smallest geometric mean, over mixtures, of the error beside the best of 21 samplers on 6 grids.
TABLE = {
    ("scalar", False): {
        5: (*_TAB2, 1.5),
        10: (*_IPNDM, 1.6),
        20: (*_IPNDM, 1.8),
        50: (*_AB4, 2.6),
    },
    ("scalar", True): {
        5: (*_TAB2, 1.5),
        10: (*_TAB2, 2.5),
        20: (*_IPNDM, 2.1),
        50: (*_IPNDM, 3.9),
    },
    ("block", False): {
        5: ("ddim", {}, "cosine", {}, 1.1),
        10: (*_RHO3, 1.2),
        20: (*_TAB3, 1.5),
        50: (*_AM4, 1.0),
    },
    ("block", True): {
        5: ("ddim", {}, "cosine", {}, 1.0),
        10: (*_RHO3, 1.1),
        20: (*_TAB3, 1.5),
        50: (*_DATA_T3, 1.0),
    },
}
# Far beyond, orders win: 1.9e-11 on a mixture within 512 evaluations.
FINE = (_AB, {"order": 6, "hold": "x0", "clock": "log_snr", "start": "exact"})


class Recommendation(NamedTuple):
    """A sampler, its grid, and how sure the advice is. Source: definition."""

    build: Callable  # (process, denoiser) -> Solver
    grid: Callable  # (process, n) -> ts [n + 1]
    words: str  # the same for a person
    error_over_best: float  # [] the measured error beside the best known for each problem


def recommend(process, evaluations, *, guided=False):
    """The deterministic sampler to try first at about this many evaluations: a `Recommendation`,
    measured on exact mixtures in 2 and 16 dimensions [d], for scalar or block processes, with or
    without guidance.

    It is the best on average, within a factor `error_over_best` of the best for each mixture: where
    it matters, compare (`error_anatomy`) or learn a table (`search`). Networks are not exact
    denoisers: on images the data prediction in clock t was best at 10 (experiments/images). From
    200 evaluations on the orders decide. Raises ValueError on fewer than one evaluation.
    Source: measured, by `python -m experiments.samplers`.
    """
    if evaluations < 1:
        raise ValueError(f"solvers.recommend: evaluations must be at least 1; got {evaluations}")
    kind = "scalar" if num_blocks(process) is None else "block"
    if evaluations >= 200:
        name, options, grid, more, error = *FINE, "power", {"rho": 3.0}, 1.0
    elif evaluations < 5:
        name, options, grid, more, error = "ddim", {}, "cosine", {}, float("nan")
    else:
        rows = TABLE[kind, bool(guided)]
        name, options, grid, more, error = rows[max(n for n in rows if n <= evaluations)]
    said = lambda name, options: f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"
    return Recommendation(
        functools.partial(getattr(exponential, name), **options),
        functools.partial(getattr(grids, grid), **more),
        f"exponential.{said(name, options)} on grids.{said(grid, more)}",
        error,
    )
