"""What every EM algorithm of this room is and tells."""

from collections.abc import Callable
from typing import Any, NamedTuple


class EM(NamedTuple):
    """Expectation-maximisation as two pure functions. Source: definition; Dempster, Laird and Rubin
    1977.
    """

    init: Callable  # (key, xs [n, *event]) -> params
    step: Callable  # (params, xs [n, *event], weights [n] or None) -> (params, info)


class EMInfo(NamedTuple):
    """What a step tells a person about the parameters it was given. Source: definition."""

    logdensity: Any  # [], nats, the (weighted) mean over the data; it never falls
    counts: Any  # [k], expected share of the data in each component
