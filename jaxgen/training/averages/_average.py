"""Exponential averages of parameters. Sources: see each function."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Average(NamedTuple):
    """A running average of parameters, whose state is the averaged parameters themselves.

    Kept in the dtype of the parameters, float32 at least. Source: definition.
    """

    init: Callable  # params -> averaged params
    update: Callable  # (averaged, params, step: [] from 1) -> averaged


def running(weight: Callable) -> Average:
    """Return the average `a <- a + weight(step) (params - a)`, weight [] in [0, 1]."""

    def init(params):
        return jax.tree.map(lambda p: jnp.array(p, _wide(p), copy=True), params)

    def update(averaged, params, step):
        w = weight(step)
        return jax.tree.map(
            lambda a, p: a + jnp.asarray(w, a.dtype) * (p.astype(a.dtype) - a), averaged, params
        )

    return Average(init, update)


def ema(decay: float) -> Average:
    """Return the average `a <- decay a + (1 - decay) params`, started at the first parameters.

    Raises:
      ValueError: decay outside [0, 1).

    Source: Polyak and Juditsky 1992, SIAM J. Control Optim. 30(4), in the exponential form of
    Song et al. 2021, arXiv 2011.13456, appendix H.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"averages.ema: decay must be in [0, 1); got {decay}")
    return running(lambda step: 1 - decay)


def scale_ema(decay: float, factor: float) -> float:
    """Return the decay `decay ** factor` that suits a batch `factor` times as large.

    With the learning rate scaled as the optimiser asks (linearly for SGD), the average then covers
    the same number of examples.

    Raises:
      ValueError: decay outside [0, 1), or a factor that is not positive.

    Source: Busbridge et al. 2023, arXiv 2307.13813, definition 1.2.
    """
    if not 0 <= decay < 1 or not factor > 0:
        raise ValueError(
            f"averages.scale_ema: decay must be in [0, 1), factor positive; got {decay}, {factor}"
        )
    return decay**factor


def _wide(p):
    return jnp.promote_types(p.dtype, jnp.float32)
