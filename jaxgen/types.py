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


class NonlinearForward(NamedTuple):
    """A nonlinear noising process dz = f(z, t) dt + G(z, t) dw (Ito), z [*event], data at t = 0; a
    pytree.

    A coefficient G is [], a vector [d] for z [d], or a matrix: [c, c] on the leading axis of z, or
    [d, d] on all d entries of z, flat. It has no transition: asked for one it raises ValueError.
    Its numbers cross jit when its functions are `jax.tree_util.Partial`s of module-level functions.
    Source: definition; Singhal et al. 2024, arXiv 2407.07998.
    """

    drift: Callable  # (z [*event], t []) -> [*event]
    diffusion: Callable  # (z [*event], t []) -> [], [d], [c, c] or [d, d]
    prior: Any  # Distribution of z at t_max: the law that it forgets its start into
    t_min: Numeric  # clean end of what is learned and sampled
    t_max: Numeric  # noisy end

    @property
    def transition(self):
        """Raises ValueError: only a linear process has a transition [] or [c, c] in closed form.

        Source: definition.
        """
        raise ValueError(
            "types.NonlinearForward: this method needs a linear process with a transition; got a "
            "nonlinear one (see processes.nonlinear, solvers.sde.reverse, losses.score.local)"
        )


class DiagonalForward(NamedTuple):
    """A linear noising process whose coefficients are diagonal in a fixed basis of the event:
    z_t = alpha(t) x0 + sigma(t) eps with arrays alpha, sigma [*event], entry by entry; a pytree.

    Every entry of the event has a scalar process of its own; z is `x [*event]`, in coordinates of
    the basis. The three functions put the leading axes of t before those of the event.
    Source: definition; Hoogeboom and Salimans 2023, arXiv 2209.05557 (heat dissipation as Gaussian
    diffusion).
    """

    entries: Any  # a scalar LinearForward whose numbers have leading axes [*event]
    drift: Callable  # t [...] -> F [..., *event]
    diffusion: Callable  # t [...] -> G [..., *event]
    transition: Callable  # t [...] -> (alpha, sigma), each [..., *event]
    t_min: Numeric  # clean end, of all entries
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


def sampling_algorithm(init: Callable, step: Callable):
    """blackjax's `SamplingAlgorithm` of init(position [*event], key) and step(key, state).

    blackjax is imported here, not above: its import starts JAX's devices, and the processes of a
    distributed run must join before that. Source: definition.
    """
    from blackjax.base import SamplingAlgorithm

    return SamplingAlgorithm(init, step)
