"""Models known up to a constant. Door: f(...) -> logdensity_fn(x [*event]) -> [], nats.

`ising`, `rbm` and `multitasking` live on spins or bits, `hopfield` on vectors; `hybrid` corrects a
density by a residual. `calibrated` and `composed` map energies to energies, `log_density` turns one
into a log-density. Annealing paths are `path(exponent in [0, 1]) -> logdensity_fn`, as
`likelihoods.annealed` takes them.
"""

from jaxgen.energies._density import log_density, product
from jaxgen.energies._hopfield import Hopfield, hopfield
from jaxgen.energies._hybrid import calibrated, composed, hybrid
from jaxgen.energies._ising import ising, periodic_grid
from jaxgen.energies._multitasking import (
    multitasking,
    multitasking_overlaps,
    multitasking_step,
    overlaps,
)
from jaxgen.energies._paths import geometric_path, moment_path
from jaxgen.energies._rbm import RBM, rbm

__all__ = [
    "RBM",
    "Hopfield",
    "calibrated",
    "composed",
    "geometric_path",
    "hopfield",
    "hybrid",
    "ising",
    "log_density",
    "moment_path",
    "multitasking",
    "multitasking_overlaps",
    "multitasking_step",
    "overlaps",
    "periodic_grid",
    "product",
    "rbm",
]
