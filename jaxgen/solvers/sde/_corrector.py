"""Predictor-corrector sampling: steps of a Markov kernel at each noise level reached."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import working_dtype
from jaxgen.predictions import as_score
from jaxgen.solvers._tables._table import noise_like
from jaxgen.solvers.sde._options import number_in, whole_order
from jaxgen.types import Solver


class Kernel(NamedTuple):
    """A Markov kernel in blackjax's form. Source: blackjax, SamplingAlgorithm."""

    init: Any  # position [*event] or [c, *event] -> state
    step: Any  # (key, state) -> (state, info)


class LangevinState(NamedTuple):
    """Where a chain is. Source: definition."""

    position: Any  # [*event] or [c, *event]


class LangevinInfo(NamedTuple):
    """What a Langevin step reports. Source: definition."""

    step_size: Any  # []


def predictor_corrector(solver, make_kernel, *, steps=1):
    """The Solver that follows each step of `solver` by `steps` steps of a Markov kernel at the time
    reached, which should leave the law of z_t [*event] or [c, *event] invariant.

    Args: make_kernel(t) -> a blackjax kernel, with init(z) -> state, whose position is z, and
        step(key, state) -> (state, info): `langevin(process, denoiser)`, or for a known density
        lambda t: blackjax.mala(logdensity at t, step_size).
    The evaluations of the kernel are not counted in `Solver.evaluations`. Raises ValueError unless
    steps is an integer from 0; and, from plan, when the solver's rows are stages of a step.
    Source: Song et al. 2021, arXiv 2011.13456, algorithm 1.
    """
    whole_order("predictor_corrector", steps, 0, 10**6, option="steps")

    def plan(ts):
        rows = solver.plan(ts)
        if len(rows.t) != np.shape(ts)[0] - 1:
            raise ValueError(
                "solvers.sde.predictor_corrector: the solver must make one row a step; "
                f"got {len(rows.t)} rows for {np.shape(ts)[0] - 1} steps"
            )
        return rows

    def step(key, state, row):
        key_predict, key_correct = jax.random.split(key)
        state, info = solver.step(key_predict, state, row)
        kernel = make_kernel(row.t_next)
        move = lambda i, chain: kernel.step(jax.random.fold_in(key_correct, i), chain)[0]
        chain = jax.lax.fori_loop(0, steps, move, kernel.init(state[0]))
        return state._replace(x=chain.position), info

    return Solver(plan, solver.init, step, solver.order, solver.evaluations)


def langevin(process, denoiser, *, snr=0.16):
    """make_kernel(t) for `predictor_corrector`: unadjusted Langevin steps z + e s + sqrt(2 e) noise
    with the score s of z [*event] or [c, *event] and e = 2 (snr |noise| / |s|)^2, one evaluation
    each.

    Its law is that of z_t up to a bias of order e. Raises ValueError unless snr is a number from 0.
    Source: Song et al. 2021, arXiv 2011.13456, algorithm 4. Deviation: the norms are those of one
    example, not means over a batch.
    """
    number_in("langevin", "snr", snr)
    score_fn = as_score(process, denoiser)

    def make_kernel(t):
        def step(key, state):
            z, noise = state.position, noise_like(key, state.position)
            score = score_fn(z, t)
            size = 2 * (snr * _norm(noise) / _norm(score)) ** 2
            moved = jax.tree.map(
                lambda z, s, n: (z + size * s + jnp.sqrt(2 * size) * n).astype(z.dtype),
                z,
                score,
                noise,
            )
            return LangevinState(moved), LangevinInfo(size)

        return Kernel(LangevinState, step)

    return make_kernel


def _norm(tree):
    dtype = working_dtype(tree)
    return jnp.sqrt(sum(jnp.sum(leaf.astype(dtype) ** 2) for leaf in jax.tree.leaves(tree)))
