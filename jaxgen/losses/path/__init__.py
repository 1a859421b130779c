"""Samplers of unnormalised targets trained on the weights of their own paths. Door: f(run, prior,
logdensity_fn, ...) -> loss_fn(params, key) -> [], nats; no data.

run(params, key, x [*event]) -> (x [*event], infos) is a `solve` whose infos hold log_weight [n].
`log_variance` and `trajectory_balance` want a solver with `along`, which holds the path fixed.
"""

from jaxgen.losses.path._variance import log_variance, trajectory_balance
from jaxgen.losses.path._weights import (
    Normaliser,
    PathWeight,
    log_normaliser,
    reverse_kl,
    weighted_path,
)

__all__ = [
    "Normaliser",
    "PathWeight",
    "log_normaliser",
    "log_variance",
    "reverse_kl",
    "trajectory_balance",
    "weighted_path",
]
