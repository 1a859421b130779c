"""Dense associative memories: an energy whose descent step is attention."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.math import is_concrete


class Hopfield(NamedTuple):
    """A dense associative memory over x [d]; a pytree. Source: definition."""

    logdensity: Any  # x [d] -> [], nats, unnormalised: -beta times `energy`
    energy: Any  # x [d] -> []
    retrieve: Any  # x [d] -> [d], one step, which never raises the energy
    attention: Any  # x [d] -> [m], weight of every pattern


def hopfield(patterns, *, beta, sink=True):
    """The `Hopfield` memory E(x) = |x|^2 / 2 - (1 / beta) log(s + sum_m exp(beta xi_m . x)).

    With the sink, s = 1: one key whose logit is always zero and whose value is zero, so the weights
    sum to less than one and a query like no pattern retrieves nothing; without, s = 0. A step sets
    x to the patterns averaged with softmax weights (the concave part replaced by its tangent), so
    x - retrieve(x) is the gradient of E. exp(-beta E) is a mixture of Gaussians of variance 1/beta
    about the patterns, with weights exp(beta |xi_m|^2 / 2), and the sink one about the origin.

    Args: patterns xi [m, d]; beta, positive []. Raises ValueError on other shapes or beta <= 0.
    Source: Ramsauer et al. 2021, arXiv 2008.02217, equations 2-3; Hu et al. 2024, arXiv 2404.03828,
    for the sink (softmax_1).
    """
    if jnp.ndim(patterns) != 2 or jnp.shape(patterns)[0] < 1:
        raise ValueError(f"energies.hopfield: patterns must be [m, d]; got {jnp.shape(patterns)}")
    if is_concrete(beta) and not (np.ndim(beta) == 0 and beta > 0):
        raise ValueError(f"energies.hopfield: beta must be positive; got {beta}")
    dtype = jnp.result_type(patterns, float)
    numbers = patterns, jnp.asarray(beta, dtype), jnp.asarray(0.0 if sink else -jnp.inf, dtype)
    return Hopfield(*(Partial(f, *numbers) for f in (_logdensity, _energy, _retrieve, _attention)))


def _logits(patterns, beta, sink, x):
    return jnp.append(beta * (patterns @ x), sink)


def _energy(patterns, beta, sink, x):
    return x @ x / 2 - jax.nn.logsumexp(_logits(patterns, beta, sink, x)) / beta


def _logdensity(patterns, beta, sink, x):
    return -beta * _energy(patterns, beta, sink, x)


def _attention(patterns, beta, sink, x):
    return jax.nn.softmax(_logits(patterns, beta, sink, x))[: len(patterns)]


def _retrieve(patterns, beta, sink, x):
    return _attention(patterns, beta, sink, x) @ patterns
