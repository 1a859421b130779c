"""Where a sampler stops. Door: f(process, n, *, t_min=None, t_max=None, ...) -> ts [n + 1],
strictly falling, ends exact.
"""

from jaxgen.grids._cosine import cosine
from jaxgen.grids._dynamic_programming import dynamic_programming
from jaxgen.grids._equidistributed import equidistributed, error_density
from jaxgen.grids._grids import karras, log_snr, power, uniform
from jaxgen.grids._sigmoid import sigmoid

__all__ = [
    "cosine",
    "dynamic_programming",
    "equidistributed",
    "error_density",
    "karras",
    "log_snr",
    "power",
    "sigmoid",
    "uniform",
]
