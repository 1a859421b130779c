"""Probabilities of integers from densities of real numbers."""

import jax
import jax.numpy as jnp
import numpy as np


def dequantised(log_prob, levels, *, low=-1.0, high=1.0, conditional=None):
    """log_prob(key, x [*event]) -> [] nats of whole levels x from 0 to levels - 1: one draw of a
    lower bound on their log-probability under a density.

    Level x owns the cell y = low + width (x + u), width = (high - low) / levels, u in [0, 1), as in
    `data.to_unit`, and is answered by log_prob(key, y) + d log(width) - log q(u | x). Its exp
    averages to the probability of the cell, so that `importance` tightens the bound; it is exact
    for q the law of u given x. Args: log_prob(key, y) -> [], a log-density on [low, high];
    conditional: x -> the `Distribution` of u [*event], uniform when None (variational
    dequantisation: a flow, say). Read the result by `bits_per_dim(log_prob, dim)`, without levels.
    Raises ValueError on fewer than two levels, or an empty interval.
    Source: Theis et al. 2016, arXiv 1511.01844, section 3.1 (uniform); Ho et al. 2019, arXiv
    1902.00275, section 3.1 (variational).
    """
    if levels < 2:
        raise ValueError(f"likelihoods.dequantised: levels must be at least 2; got {levels}")
    if not low < high:
        raise ValueError(f"likelihoods.dequantised: low < high must hold; got {low}, {high}")
    width = (high - low) / levels

    def of_levels(key, x):
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
        key_noise, key_density = jax.random.split(key)
        if conditional is None:
            u, log_q = jax.random.uniform(key_noise, x.shape, x.dtype), 0.0
        else:
            law = conditional(x)
            u = law.sample(key_noise)
            log_q = law.logdensity(u)
        return log_prob(key_density, low + width * (x + u)) + x.size * np.log(width) - log_q

    return of_levels
