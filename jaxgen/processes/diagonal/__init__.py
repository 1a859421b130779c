"""Processes that are diagonal in a basis: one scalar process for each entry of the event.

Door: f(..., *numbers, t_min=, t_max=) -> DiagonalForward, z = x [*event] in coordinates of an
orthonormal basis. Data go through `Basis.to` once and samples through `Basis.back`; log-densities
and mean squared errors are the same in both. `predictions.in_basis` lets a network that reads
pixels serve. Verbs, predictions, losses, likelihoods, grids and the doors `exponential`, `sde` and
`ode` of solvers take these processes as they take scalar ones; where one log-SNR is asked for it is
the mean over the entries (`processes.mean_log_snr`). What needs one noise level for all entries
(`rechannel`, adjoints, searched tables, splitting, stages placed in log-SNR) raises ValueError. A
solver's table is made once for each distinct set of numbers, milliseconds each.
"""

from jaxgen.processes.diagonal._anisotropic import anisotropic
from jaxgen.processes.diagonal._basis import Basis, dct, fourier, matrix_basis, no_basis
from jaxgen.processes.diagonal._spectral import blurring, frequencies, frequency_wise

__all__ = [
    "Basis",
    "anisotropic",
    "blurring",
    "dct",
    "fourier",
    "frequencies",
    "frequency_wise",
    "matrix_basis",
    "no_basis",
]
