"""What a network predicts, and how to read it as denoiser, score or field, (z, t) -> [*event].

Door: `as_denoiser(process, predict, *, kind)` and its siblings take a raw network view predict(z,
t) -> [*event]; `guidance` maps denoisers to denoisers.
"""

from jaxgen.predictions import guidance
from jaxgen.predictions._basis import in_basis
from jaxgen.predictions._kinds import as_denoiser, edm, reading, row_of, target
from jaxgen.predictions._read import as_field, as_score, matched_times, rechannel

__all__ = [
    "as_denoiser",
    "as_field",
    "as_score",
    "edm",
    "guidance",
    "in_basis",
    "matched_times",
    "reading",
    "rechannel",
    "row_of",
    "target",
]
