"""The nouns of jaxgen: records that rooms hand to each other. This file imports nothing of ours."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Numeric = Array | float


class LinearForward(NamedTuple):
    """A linear noising process z_t = Phi(t) z_0 + L(t) eps; a pytree that crosses jit, vmap and
    grad.

    `c` blocks share one event shape: z is `x [*event]` for a scalar process and `[c, *event]` for a
    block process, whose block 0 holds the data and whose other blocks start as independent
    Gaussians. All three functions broadcast over leading axes of t, take NumPy to NumPy and JAX to
    JAX.
    Source: the definition used throughout jaxgen; Song et al. 2021, arXiv 2011.13456, section 3 for
    scalars, Dockhorn et al. 2022, arXiv 2112.07068 for blocks.
    """

    drift: Callable  # t [...] -> F [...] or [..., c, c]
    diffusion: Callable  # t [...] -> G [...] or [..., c, c]
    transition: Callable  # t [...] -> (Phi, L), each [...] or [..., c, c]; L lower Cholesky
    t_min: Numeric  # clean end, above 0 where the noise vanishes
    t_max: Numeric  # noisy end


class Distribution(NamedTuple):
    """A law one can sample, with its log-density in nats when that is known.

    Source: definition.
    """

    sample: Callable  # key -> x [*event]
    logdensity: Callable | None  # x [*event] -> [], nats


class Solver(NamedTuple):
    """A recipe for `solve`: a table made from the time grid, and one step that reads a row of it.

    Build it inside the function you jit; it never crosses jit. Rows are a pytree with a leading
    axis, each row with fields `t` and `t_next`. Source: definition.
    """

    plan: Callable  # ts [n + 1] -> rows, leading axis m >= n
    init: Callable  # (x, ts) -> state, whose first field is x
    step: Callable  # (key, state, row) -> (state, info)
    order: int  # nominal order of convergence, measured by the contract test
    evaluations: Callable  # n -> network evaluations of a grid of n steps


class Trainer(NamedTuple):
    """Training as two pure functions.

    Source: definition; the shape is that of optax and blackjax.
    """

    init: Callable  # params -> state
    step: Callable  # (key, state, batch) -> (state, info)


class Row(NamedTuple):
    """One line of a solver that needs nothing but the two ends of its step. Source: definition."""

    t: Any  # []
    t_next: Any  # []
