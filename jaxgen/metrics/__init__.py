"""Metrics: distances between two samples.

The door's signature is `f(xs [n, *event], ys [m, *event], *, ...) -> []`; a random one takes its
key first. Points are flattened to [n, d]; d is a point's number of entries. Where the two sides
differ, xs is the data and ys the model's sample. What is returned is the square (or the p-th power)
that has an unbiased estimate and a finite gradient at zero: a squared maximum mean discrepancy, a
squared Fréchet distance, W_p^p. `kernel_distance` returns an Estimate (value, standard error), and
`nearest` an index and a distance for each point.

Rooms within: `calibration` (probabilities against outcomes), `currents` (probability currents of
stochastic equations), `diversity` (effective numbers, copies, modes), `importance` (several
expectations from one sample), `information` (entropy and mutual information), `mmd` (discrepancies
with standard errors, in linear time, of weighted points), `outliers` (density scores), `stein` (a
sample against a score), `transport` (plans and what they give), `two_sample` (tests) and `weighted`
(distances to a simulator whose points carry weights).

Bad input raises ValueError where it can be seen: shapes always, values when they are not traced.
"""

from jaxgen.metrics import (
    calibration,
    currents,
    diversity,
    importance,
    information,
    mmd,
    outliers,
    stein,
    transport,
    two_sample,
    weighted,
)
from jaxgen.metrics._energy import energy_distance
from jaxgen.metrics._gaussian import frechet, gaussian_distance
from jaxgen.metrics._gaussian_forms import (
    gaussian_energy_distance,
    gaussian_hellinger2,
    gaussian_kl,
    gaussian_mmd2,
)
from jaxgen.metrics._gaussian_sliced import gaussian_sliced
from jaxgen.metrics._mmd import Estimate, kernel_distance, mmd2
from jaxgen.metrics._neighbours import Nearest, coverage, density, nearest, precision, recall
from jaxgen.metrics._sliced import (
    sliced_wasserstein,
    sliced_wasserstein_estimate,
    wasserstein_1d,
)

__all__ = [
    "calibration",
    "currents",
    "importance",
    "outliers",
    "Estimate",
    "Nearest",
    "coverage",
    "density",
    "diversity",
    "energy_distance",
    "frechet",
    "gaussian_distance",
    "information",
    "gaussian_energy_distance",
    "gaussian_hellinger2",
    "gaussian_kl",
    "gaussian_mmd2",
    "gaussian_sliced",
    "kernel_distance",
    "mmd",
    "mmd2",
    "stein",
    "two_sample",
    "nearest",
    "precision",
    "recall",
    "sliced_wasserstein",
    "transport",
    "sliced_wasserstein_estimate",
    "wasserstein_1d",
    "weighted",
]
