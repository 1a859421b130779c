"""The record of a flow, and what is made of flows alone: chains, inverses and densities."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.types import Distribution


class Flow(NamedTuple):
    """An invertible map from data x [*event] to noise z [*event], as three pure functions.

    Both directions return the log-determinant [] of the Jacobian of the map they make, in nats, so
    that those of a round trip add to zero. **cond reaches the networks inside. A recipe: build it
    inside the function you jit. Source: definition; Rezende and Mohamed 2015, arXiv 1505.05770.
    """

    init: Callable  # key -> params
    forward: Callable  # (params, x [*event], **cond) -> (z [*event], log_det [])
    inverse: Callable  # (params, z [*event], **cond) -> (x [*event], log_det [])


def invert(flow):
    """The Flow of x [*event] that runs another backwards, with the same parameters.

    Source: definition.
    """
    return Flow(flow.init, flow.inverse, flow.forward)


def chain(*flows):
    """The Flow of x [*event] through several, the first next to the data; params is a tuple.

    Raises ValueError on no flows. Source: Rezende and Mohamed 2015, arXiv 1505.05770, equation 7.
    """
    if not flows:
        raise ValueError("flows.chain: at least one flow is needed; got none")

    def init(key):
        return tuple(flow.init(each) for flow, each in zip(flows, _split(key), strict=True))

    def _split(key):
        return jax.random.split(key, len(flows))

    def forward(params, x, **cond):
        total = jnp.zeros((), x.dtype)
        for flow, each in zip(flows, params, strict=True):
            x, log_det = flow.forward(each, x, **cond)
            total = total + log_det
        return x, total

    def inverse(params, z, **cond):
        total = jnp.zeros((), z.dtype)
        for flow, each in zip(flows[::-1], params[::-1], strict=True):
            z, log_det = flow.inverse(each, z, **cond)
            total = total + log_det
        return z, total

    return Flow(init, forward, inverse)


def as_distribution(flow, params, base, **cond):
    """The law of x [*event] whose z = forward(x) follows `base`: a `Distribution`, nats.

    Args: base, a `Distribution` over z [*event], such as `densities.distribution(
    densities.gaussian(mean, cov))`; cond, handed to the flow.
    Source: Rezende and Mohamed 2015, arXiv 1505.05770, equation 5.
    """

    def sample(key):
        return flow.inverse(params, base.sample(key), **cond)[0]

    def logdensity(x):
        z, log_det = flow.forward(params, x, **cond)
        return base.logdensity(z) + log_det

    return Distribution(sample, logdensity)
