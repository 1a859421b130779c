"""Proximal maps in closed form, entry by entry, on any tree of arrays.

Source: Parikh and Boyd 2014, Proximal Algorithms, section 6.
"""

import jax
import jax.numpy as jnp

from jaxgen.math import is_concrete
from jaxgen.mcmc._checks import positive


def l1(weight=1.0):
    """prox(x [*event], step []) of g(x) = weight sum |x|: the soft threshold at weight step.

    Args: weight [], > 0. Raises ValueError otherwise. Source: Parikh and Boyd 2014, section 6.5.2.
    """
    positive("mcmc.prox.l1", weight=weight)

    def leaf(x, step):
        threshold = jnp.asarray(weight, x.dtype) * jnp.asarray(step, x.dtype)
        return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0)

    return lambda x, step: jax.tree.map(lambda a: leaf(a, step), x)


def quadratic(weight=1.0):
    """prox(x [*event], step []) of g(x) = weight |x|^2 / 2: x / (1 + weight step).

    Args: weight [], > 0. Raises ValueError otherwise. Source: Parikh and Boyd 2014, section 6.1.1.
    """
    positive("mcmc.prox.quadratic", weight=weight)

    def leaf(x, step):
        return x / (1 + jnp.asarray(weight, x.dtype) * jnp.asarray(step, x.dtype))

    return lambda x, step: jax.tree.map(lambda a: leaf(a, step), x)


def box(low, high):
    """prox(x [*event], step []) of the constraint low <= x <= high, entry by entry: the projection.

    Args: low, high [], low < high, infinite ends allowed. Raises ValueError otherwise.
    Source: Parikh and Boyd 2014, section 6.2.4.
    """
    if is_concrete(low, high) and not low < high:
        raise ValueError(f"mcmc.prox.box: low must be below high; got {low} and {high}")

    def leaf(x):
        return jnp.clip(x, jnp.asarray(low, x.dtype), jnp.asarray(high, x.dtype))

    return lambda x, step: jax.tree.map(leaf, x)
