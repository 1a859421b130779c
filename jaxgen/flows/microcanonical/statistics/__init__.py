"""Statistics of a time series, as functions. Door: f(...) -> statistics(x [d]) -> [k].

All are averages over time, of series taken to have mean zero. `concatenate` makes one of several;
`haar` and `morlet` make the filters that `wavelet_moments` and `scattering` take.
"""

from jaxgen.flows.microcanonical.statistics._lags import (
    autocovariances,
    leverage,
    structure,
)
from jaxgen.flows.microcanonical.statistics._moments import concatenate, kurtosis, moments
from jaxgen.flows.microcanonical.statistics._wavelets import (
    haar,
    morlet,
    scattering,
    wavelet_moments,
)

__all__ = [
    "autocovariances",
    "concatenate",
    "haar",
    "kurtosis",
    "leverage",
    "moments",
    "morlet",
    "scattering",
    "structure",
    "wavelet_moments",
]
