"""Repairing a trained denoiser, and testing what every score must obey. One pass over data.

`time_bias` measures how far the mean of x0hat is from that of the data at each of some times,
`calibrate` takes it off, (denoiser, ...) -> denoiser, and `bound_gain` says what that is worth.
`martingale` tests the score along paths z [n, m, *event] or [n, m, c, *event] of `forward_paths`
or of a sampler.
"""

from jaxgen.predictions.calibration._bias import TimeBias, bound_gain, calibrate, time_bias
from jaxgen.predictions.calibration._martingale import Drift, forward_paths, martingale

__all__ = [
    "Drift",
    "TimeBias",
    "bound_gain",
    "calibrate",
    "forward_paths",
    "martingale",
    "time_bias",
]
