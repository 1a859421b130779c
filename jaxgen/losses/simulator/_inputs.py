"""What a simulator is driven by: base draws, at random or even, and the weights of their sums.

Sources: Niu, Meier and Briol 2023, Discrepancy-based inference for intractable generative models
using quasi-Monte Carlo (even draws); Bharti et al. 2023, arXiv 2301.11674 (optimal weights).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import quasi_uniform
from jaxgen.metrics import weighted

BASES = ("normal", "uniform")


class Inputs(NamedTuple):
    """Base draws of a simulator and the weights of their sums. Source: definition."""

    us: Any  # [m, ...], a tree of arrays
    weights: Any  # [m], of any sign, of a quadrature; None is independent draws of equal weight


def base_inputs(
    size: int,
    *,
    base: str = "normal",
    even: bool = False,
    embedding: weighted.Embedding | None = None,
) -> Callable:
    """inputs(key, draws) -> `Inputs`: us [draws, size] of the base law, and weights [draws] or
    None where the draws are independent.

    Every single draw follows the base law. Even draws, a lattice shifted at random, and weights
    lessen the noise of sums over smooth simulators of few inputs. With few draws, or an embedding
    of a bandwidth that does not fit, weights are worse than none: `metrics.weighted.explained`
    tells from the simulated points, and near 1 they are safe. Weights cost draws³ per call.

    Args:
        size: numbers in one draw.
        base: "normal" for N(0, I), or "uniform" on [0, 1)^size.
        even: spread the draws evenly.
        embedding: `metrics.weighted.rbf` or `matern` of the same base: optimal weights, whose sum
            is 1. None is equal ones.

    Raises ValueError on a size that is not a positive integer, or a wrong base.
    Source: Niu, Meier and Briol 2023; Bharti et al. 2023, arXiv 2301.11674, equation 5.
    """
    where = "losses.simulator.base_inputs"
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"{where}: size must be a positive integer; got {size!r}")
    if base not in BASES:
        raise ValueError(f"{where}: base must be one of {BASES}; got {base!r}")

    def inputs(key, draws):
        if even:
            us = quasi_uniform(key, draws, size)
            us = _normal(us) if base == "normal" else us
        else:
            law = jax.random.normal if base == "normal" else jax.random.uniform
            us = law(key, (draws, size))
        if embedding is not None:
            return Inputs(us, weighted.weights(embedding, us).weights)
        return Inputs(us, jnp.full(draws, 1 / draws, us.dtype) if even else None)

    return inputs


def _normal(us):
    """Normal quantiles of uniform numbers in [0, 1), finite at 0."""
    edge = jnp.finfo(us.dtype).epsneg
    return jax.scipy.special.ndtri(jnp.clip(us, edge, 1 - edge))
