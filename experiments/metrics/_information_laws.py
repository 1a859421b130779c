"""The pairs of laws that the trials of information share."""

import math

import jax
import jax.numpy as jnp

UNIT = 0.5 * math.log(2 * math.pi * math.e)  # the entropy of N(0, 1)
R = 0.75  # the correlation of pairs: 0.413339 nats a coordinate
EACH = -0.5 * math.log(1 - R**2)


def pairs(key, n, d, r=R):
    """Two normals [n, d] with correlation r between like coordinates."""
    a, b = jax.random.normal(key, (2, n, d))
    return a, r * a + jnp.sqrt(1 - r**2) * b


def log_ratio(xs, ys, r=R):
    """The scores [n, n] of the optimal critic of `pairs` in one dimension."""
    x, y = xs[:, None, 0], ys[None, :, 0]
    return -0.5 * jnp.log(1 - r**2) - ((y - r * x) ** 2 / (1 - r**2) - y**2) / 2
