"""Restricted Boltzmann machines on bits: joint, free energy, and both conditional laws."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial


class RBM(NamedTuple):
    """A restricted Boltzmann machine on bits v [d], h [k]; a pytree. Source: definition."""

    logdensity: Any  # v [d] -> [], nats: minus the free energy, unnormalised
    joint: Any  # (v [d], h [k]) -> [], nats, unnormalised
    hidden: Any  # v [d] -> [k], probability that each hidden bit is 1
    visible: Any  # h [k] -> [d], probability that each visible bit is 1


def rbm(weights, visible_bias, hidden_bias):
    """The `RBM` with log p(v, h) = v^T W h + a^T v + b^T h + const, v and h in {0, 1}.

    Its `logdensity` sums h out exactly, so that block Gibbs sampling needs only its conditionals.
    Args: weights W [d, k], visible_bias a [d], hidden_bias b [k]. Raises ValueError on shapes that
    do not fit. Source: Smolensky 1986; Hinton 2002, section 3.
    """
    d, k = jnp.shape(weights) if jnp.ndim(weights) == 2 else (-1, -1)
    if jnp.shape(visible_bias) != (d,) or jnp.shape(hidden_bias) != (k,):
        raise ValueError(
            "energies.rbm: weights [d, k], visible_bias [d], hidden_bias [k] must fit; got "
            f"{jnp.shape(weights)}, {jnp.shape(visible_bias)}, {jnp.shape(hidden_bias)}"
        )
    numbers = weights, visible_bias, hidden_bias
    functions = _free, _joint, _hidden, _visible
    return RBM(*(Partial(function, *numbers) for function in functions))


def _free(weights, a, b, v):
    v = jnp.asarray(v, weights.dtype)
    return a @ v + jnp.sum(jax.nn.softplus(b + v @ weights))


def _joint(weights, a, b, v, h):
    v, h = jnp.asarray(v, weights.dtype), jnp.asarray(h, weights.dtype)
    return v @ weights @ h + a @ v + b @ h


def _hidden(weights, a, b, v):
    del a
    return jax.nn.sigmoid(b + jnp.asarray(v, weights.dtype) @ weights)


def _visible(weights, a, b, h):
    del b
    return jax.nn.sigmoid(a + weights @ jnp.asarray(h, weights.dtype))
