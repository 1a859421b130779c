"""How data become noise: linear processes z_t = Phi(t) z_0 + L(t) eps, and the verbs derived from
them.

Doors: `scalar` (z = x [*event]) and `augmented` (z [c, *event], block 0 the data), both f(*numbers,
t_min=, t_max=) -> LinearForward. The verbs take any of these processes. Door `nonlinear`: any drift
and diffusion, f(...) -> NonlinearForward, with verbs of its own. Door `diagonal`: z = x [*event]
with coefficients [*event] in a basis, f(...) -> DiagonalForward.
"""

from jaxgen.processes import augmented, diagonal, nonlinear, scalar
from jaxgen.processes._entries import event_shape, is_diagonal, over_entries, refuse_diagonal
from jaxgen.processes._record import (
    auxiliary_law,
    channel_at,
    corrupt,
    data_part,
    lift,
    log_snr,
    mean_log_snr,
    noise_shape,
    num_blocks,
    prior,
)
from jaxgen.processes._reverse import log_widening, reverse_kl, snr_gap
from jaxgen.processes._tabulated import tabulated

__all__ = [
    "augmented",
    "auxiliary_law",
    "channel_at",
    "corrupt",
    "data_part",
    "diagonal",
    "event_shape",
    "is_diagonal",
    "lift",
    "log_snr",
    "log_widening",
    "mean_log_snr",
    "noise_shape",
    "nonlinear",
    "num_blocks",
    "over_entries",
    "prior",
    "refuse_diagonal",
    "reverse_kl",
    "scalar",
    "snr_gap",
    "tabulated",
]
