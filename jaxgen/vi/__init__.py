"""Variational inference that blackjax lacks.

Two doors. Algorithms in blackjax's shape, `f(logdensity_fn, ...) -> VIAlgorithm(init, step,
sample)`: `forward_backward`; mean-field, full-rank, pathfinder and SVGD are blackjax's own.
Families, `f(...) -> Family(init, sample, logdensity, draws)` over x [*event] or [d]:
`block_gaussian`, `low_rank_gaussian`, `mixture`, `flow`; `elbo(logdensity_fn, family)` is their
loss_fn(params, key), for any optimiser. Points for means over normal laws: `gauss_hermite`,
`cubature`. Layers of networks with Gaussian weights, (mean, variance) -> (mean, variance):
`linear_moments`, `relu_moments`, `gelu_moments`, `mp_gelu_moments`; `network_moments(params, x)`
stacks them, and `moment_elbo(size, ...)` is its loss_fn(params, key, x0, y=).
"""

from jaxgen.vi._families import block_gaussian, flow, low_rank_gaussian, mixture
from jaxgen.vi._family import Family, elbo
from jaxgen.vi._forward_backward import (
    ForwardBackwardInfo,
    ForwardBackwardState,
    forward_backward,
)
from jaxgen.vi._layers import init_layers, layers_divergence, moment_elbo, network_moments
from jaxgen.vi._moments import gelu_moments, linear_moments, mp_gelu_moments, relu_moments
from jaxgen.vi._points import cubature, gauss_hermite

__all__ = [
    "Family",
    "ForwardBackwardInfo",
    "ForwardBackwardState",
    "block_gaussian",
    "cubature",
    "elbo",
    "flow",
    "forward_backward",
    "gauss_hermite",
    "gelu_moments",
    "init_layers",
    "layers_divergence",
    "linear_moments",
    "low_rank_gaussian",
    "mixture",
    "moment_elbo",
    "mp_gelu_moments",
    "network_moments",
    "relu_moments",
]
