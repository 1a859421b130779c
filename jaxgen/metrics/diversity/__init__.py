"""Diversity: how many different things a sample holds, and whether it copies its training data.

One sample in: `f(xs [n, *event], ...)`, a number or a record of numbers out. Three samples in, for
copies: `f(training [n, *event], held_out [m, *event], samples [k, *event])`. Points are flattened
to rows. All are deterministic.

Bad input raises ValueError where it can be seen: shapes always, values when they are not traced.
"""

from jaxgen.metrics.diversity._copies import Copying, copy_rate, copying_test
from jaxgen.metrics.diversity._modes import Modes, mode_coverage
from jaxgen.metrics.diversity._vendi import internal_diversity, vendi, vendi_of_gram

__all__ = [
    "Copying",
    "Modes",
    "copy_rate",
    "copying_test",
    "internal_diversity",
    "mode_coverage",
    "vendi",
    "vendi_of_gram",
]
