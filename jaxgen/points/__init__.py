"""Point processes on boxes, in arrays of one shape: a `Pattern` is points [capacity, d] and a mask.

Door: a law is a `Distribution` of patterns (`poisson`, `determinantal`) where its normaliser is
known, else a `Gibbs` record, log-density and conditional intensity (`strauss`). Log-densities are
in nats, with respect to Lebesgue measure over n! at n points. `birth_death` is Metropolis-Hastings
on patterns, `simulate` its last state, `perfect` an exact draw of a repulsive process. A `box` is
the window.
"""

from jaxgen.points._birth_death import BirthDeathInfo, BirthDeathState, birth_death, simulate
from jaxgen.points._determinantal import determinantal
from jaxgen.points._pattern import Gibbs, Pattern, Window, box, count, pair_count, pattern, volume
from jaxgen.points._perfect import Perfect, perfect
from jaxgen.points._poisson import poisson
from jaxgen.points._strauss import strauss, strauss_everywhere

__all__ = [
    "BirthDeathInfo",
    "BirthDeathState",
    "Gibbs",
    "Pattern",
    "Perfect",
    "Window",
    "birth_death",
    "box",
    "count",
    "determinantal",
    "pair_count",
    "pattern",
    "perfect",
    "poisson",
    "simulate",
    "strauss",
    "strauss_everywhere",
    "volume",
]
