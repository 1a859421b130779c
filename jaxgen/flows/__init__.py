"""Invertible maps with log-determinants: densities one can evaluate and sample in one pass.

Door: f(...) -> Flow(init, forward, inverse); forward(params, x [*event], **cond) -> (z [*event],
log_det []), inverse(params, z) -> (x, log_det), nats. Data to noise is forward. `chain` and
`invert` make flows of flows, and `as_distribution(flow, params, base)` a law. `microcanonical`
moves particles to given statistics and counts their entropy.
"""

from jaxgen.flows import microcanonical
from jaxgen.flows._affine import affine
from jaxgen.flows._continuous import continuous
from jaxgen.flows._coupling import Conditioner, coupling, perceptron
from jaxgen.flows._record import Flow, as_distribution, chain, invert

__all__ = [
    "Conditioner",
    "Flow",
    "affine",
    "as_distribution",
    "chain",
    "continuous",
    "coupling",
    "invert",
    "microcanonical",
    "perceptron",
]
