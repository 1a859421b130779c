"""Processes with auxiliary blocks. Door: f(*numbers, t_min=, t_max=) -> LinearForward, coefficients
[c, c].

Named ones are critically damped (`cld`, `psld`, `hold`); `linear` takes any matrices, `recipe` any
damping and curl with a given stationary law, `mdm` the same in numbers that can be learned.
"""

from jaxgen.processes.augmented._cld import cld
from jaxgen.processes.augmented._hold import hold
from jaxgen.processes.augmented._linear import linear
from jaxgen.processes.augmented._psld import psld
from jaxgen.processes.augmented._recipe import mdm, recipe

__all__ = ["cld", "hold", "linear", "mdm", "psld", "recipe"]
