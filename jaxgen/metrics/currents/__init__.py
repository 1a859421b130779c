"""Probability currents and entropy production of stochastic equations, from a score.

Door: f(drift, diffusion, ...). The equation is dX = b(X) dt + √(2 D(X)) dW in Itô's sense, at a
stationary law with score s (a score of noisy data, `score_fn(x, t)`, is one at a fixed small t).
Its Fokker-Planck equation is a continuity equation with the velocity

    v = b - ∇·D - D s,

zero under detailed balance. `drift`: x [*event] -> [*event]; `score_fn`: x -> [*event]; `diffusion`
is D, [], [*event] (a diagonal) or [d, d] (of the flattened event, symmetric positive definite), or
a function x -> one of these. Rates are in nats for each unit of time.
"""

from jaxgen.metrics.currents._linear import LinearCurrent, linear_current
from jaxgen.metrics.currents._production import (
    entropy_production,
    heat_production,
    path_entropy_production,
)
from jaxgen.metrics.currents._velocity import current_velocity, stationary_residual

__all__ = [
    "LinearCurrent",
    "current_velocity",
    "entropy_production",
    "heat_production",
    "linear_current",
    "path_entropy_production",
    "stationary_residual",
]
