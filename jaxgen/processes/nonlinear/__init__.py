"""Processes with any drift and diffusion, dz = f(z, t) dt + G(z, t) dw. Door: f(*numbers, t_min=,
t_max=) -> NonlinearForward.

They have no closed-form transition. Their verbs: `advance` and `increment` (short steps),
`factor_times`, `increment_score`, `reversed_drift`, `flow_field`, and the noise itself (`stir`,
`unstir`, `spread`, `spread_divergence`). Sampled by `solvers.sde.reverse`, learned by
`losses.score.local`.
"""

from jaxgen.processes.nonlinear._recipe import langevin, recipe
from jaxgen.processes.nonlinear._sde import from_sde
from jaxgen.processes.nonlinear._verbs import (
    Increment,
    advance,
    check_linearisation,
    factor_times,
    flow_field,
    increment,
    increment_score,
    reversed_drift,
    spread,
    spread_divergence,
    stir,
    unstir,
)

__all__ = [
    "Increment",
    "advance",
    "check_linearisation",
    "factor_times",
    "flow_field",
    "from_sde",
    "increment",
    "increment_score",
    "langevin",
    "recipe",
    "reversed_drift",
    "spread",
    "spread_divergence",
    "stir",
    "unstir",
]
