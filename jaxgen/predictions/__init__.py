"""What a network predicts, and how to read it as denoiser, score or field, (z, t) -> [*event].

Door: `as_denoiser(process, predict, *, kind)` and its siblings take a raw network view predict(z,
t) -> [*event]; `guidance` maps denoisers to denoisers, and `calibration` repairs them.
`from_density` makes denoisers of a log-density alone; `score_density` makes a log-density of a
denoiser, (x [*event]) -> [], whose gradient is its score: a prior for blackjax's kernels.
"""

from jaxgen.predictions import calibration, from_density, guidance
from jaxgen.predictions._basis import in_basis
from jaxgen.predictions._centred import in_shape
from jaxgen.predictions._interacting import interacting
from jaxgen.predictions._kinds import as_denoiser, edm, reading, row_of, target
from jaxgen.predictions._read import as_field, as_score, matched_times, rechannel
from jaxgen.predictions._score_density import score_density, score_integral, score_only

__all__ = [
    "as_denoiser",
    "as_field",
    "as_score",
    "calibration",
    "edm",
    "from_density",
    "guidance",
    "in_basis",
    "in_shape",
    "interacting",
    "matched_times",
    "reading",
    "rechannel",
    "row_of",
    "score_density",
    "score_integral",
    "score_only",
    "target",
]
