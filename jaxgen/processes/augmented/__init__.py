"""Processes with auxiliary blocks. Door: f(*numbers, t_min=, t_max=) -> LinearForward, coefficients
[c, c].
"""

from jaxgen.processes.augmented._cld import cld
from jaxgen.processes.augmented._hold import hold

__all__ = ["cld", "hold"]
