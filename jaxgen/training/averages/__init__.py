"""Parameter averages: `f(number) -> Average(init, update)`, and their synthesis after training.

`init(params) -> averaged`; `update(averaged, params, step) -> averaged`, step from 1. The state
of an average is the averaged parameters.
"""

from jaxgen.training.averages._average import Average as Average
from jaxgen.training.averages._average import ema as ema
from jaxgen.training.averages._average import scale_ema as scale_ema
from jaxgen.training.averages._power import Snapshot as Snapshot
from jaxgen.training.averages._power import posthoc as posthoc
from jaxgen.training.averages._power import posthoc_weights as posthoc_weights
from jaxgen.training.averages._power import power as power
from jaxgen.training.averages._power import power_exponent as power_exponent

__all__ = [
    "Average",
    "Snapshot",
    "ema",
    "posthoc",
    "posthoc_weights",
    "power",
    "power_exponent",
    "scale_ema",
]
