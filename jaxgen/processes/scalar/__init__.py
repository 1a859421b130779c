"""Scalar processes. Door: f(*numbers, t_min=, t_max=) -> LinearForward whose coefficients are
scalars [].
"""

from jaxgen.processes.scalar._flow import linear_flow
from jaxgen.processes.scalar._monotone import monotone
from jaxgen.processes.scalar._schedule import from_schedule
from jaxgen.processes.scalar._variance import cosine, edm, subvp, ve, vp

__all__ = ["cosine", "edm", "from_schedule", "linear_flow", "monotone", "subvp", "ve", "vp"]
