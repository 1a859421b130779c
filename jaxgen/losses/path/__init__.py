"""Samplers of unnormalised targets trained on the weights of their own paths. Door: f(run, prior,
logdensity_fn) -> loss_fn(params, key) -> [], nats; no data.

run(params, key, x [*event]) -> (x [*event], infos) is a `solve` whose infos hold log_weight [n].
"""

from jaxgen.losses.path._weights import (
    Normaliser,
    PathWeight,
    log_normaliser,
    reverse_kl,
    weighted_path,
)

__all__ = ["Normaliser", "PathWeight", "log_normaliser", "reverse_kl", "weighted_path"]
