"""How data become noise: linear processes z_t = Phi(t) z_0 + L(t) eps, and the verbs derived from
them.

Doors: `scalar` (z = x [*event]) and `augmented` (z [c, *event], block 0 the data), both f(*numbers,
t_min=, t_max=) -> LinearForward. The verbs take any of these processes. Door `nonlinear`: any drift
and diffusion, f(...) -> NonlinearForward, with verbs of its own.
"""

from jaxgen.processes import augmented, nonlinear, scalar
from jaxgen.processes._record import (
    auxiliary_law,
    channel_at,
    corrupt,
    data_part,
    lift,
    log_snr,
    noise_shape,
    num_blocks,
    prior,
)

__all__ = [
    "augmented",
    "auxiliary_law",
    "channel_at",
    "corrupt",
    "data_part",
    "lift",
    "log_snr",
    "noise_shape",
    "nonlinear",
    "num_blocks",
    "prior",
    "scalar",
]
