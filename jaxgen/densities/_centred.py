"""The normal law of m points whose centre of mass is 0."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.math import centre
from jaxgen.types import Distribution


def centred_normal(m, d, scale=1.0):
    """The normal `Distribution` of m points [m, d] on the subspace of centre of mass 0, with
    variance scale^2 in each of its (m - 1) d directions; density with respect to that subspace's
    volume, nats, of the centred part of what it is given.

    Raises ValueError on m < 2, d < 1 or a scale that is not positive. Source: Kohler et al. 2020,
    arXiv 2006.02425; Xu et al. 2023, arXiv 2305.01140.
    """
    if m < 2 or d < 1:
        raise ValueError(
            f"densities.centred_normal: m > 1 and d > 0 must hold; got m={m} and d={d}"
        )
    if not isinstance(scale, jax.core.Tracer) and not np.all(np.asarray(scale) > 0):
        raise ValueError(f"densities.centred_normal: scale must be positive; got {scale}")
    like = np.zeros((m, d))
    return Distribution(Partial(_sample, like, scale), Partial(_logdensity, scale))


def _sample(like, scale, key):
    return scale * centre(jax.random.normal(key, like.shape))


def _logdensity(scale, x):
    m, d = x.shape[-2:]
    volume = (m - 1) * d * (jnp.log(scale) + jnp.log(2 * jnp.pi) / 2)
    return -jnp.sum((centre(x) / scale) ** 2) / 2 - volume
