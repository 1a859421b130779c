"""Learning a table by gradients through the sampler, against the end points of a fine reference."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen.math import apply, total, working_dtype
from jaxgen.solvers._solve import solve
from jaxgen.solvers.search._file import solver_of
from jaxgen.types import Trainer

CANDIDATES = (0.25, 1.0, 4.0, 32.0)
LEAST_DAMPING = 1e-4


class Batch(NamedTuple):
    """Runs of several targets to learn from, or to be scored on; for one model zeros [1] will do.

    Source: definition.
    """

    targets: Any  # a pytree with leading axis m: mixtures, classes, guidance weights ...
    starts: Any  # [m, b, *event] states at the grid's first stop
    ends: Any  # [m, b, *event] where a fine reference takes them
    means: Any  # [m, *event] E[x0] of each target, for tables whose first prediction is known


class LearnState(NamedTuple):
    """Where learning stands. Source: definition."""

    params: Any  # dict of arrays, as `Learnable.params`
    inner: Any  # the optimiser's state; for `gauss_newton` the damping []


class LearnInfo(NamedTuple):
    """What a step reports. Source: definition."""

    loss: Any  # [] before the step
    distance: Any  # [m] mean distance to the ends, for each target


def run_rows(process, denoiser, rows, z, *, first="evaluated", mean=0.0, scan=False):
    """The end point z [*event] of a scalar process's general table, `GeneralRow`s [n, k].

    `first` and mean [*event] as in `learnable`; scan, whether to run a loop, which compiles sooner,
    or to write the rows out, without which gradients of convolutions are slow on a CPU. The same as
    `solve` with the table's solver. Source: definition.
    """
    if scan:
        ts = jnp.concatenate([rows.t[:1], rows.t_next])
        solver = solver_of(process, denoiser, lambda ts: rows, first, mean, rows.past.shape[1])
        return solve(jax.random.key(0), solver, z, ts)[0]
    past, data = [], []
    for i in range(rows.t.shape[0]):
        if i == 0 and first != "evaluated":
            fill = jnp.asarray(mean if first == "known" else 0.0, z.dtype)
            x0 = jnp.broadcast_to(fill, z.shape)
        else:
            x0 = denoiser(z, jnp.asarray(rows.t[i], working_dtype(z)))
        past, data = [z, *past], [x0, *data]
        kept = min(i + 1, rows.past.shape[1])
        terms = [apply(rows.past[i, j], past[j]) for j in range(kept)]
        z = total(terms + [apply(rows.data[i, j], data[j]) for j in range(kept)])
    return z


def misses(process, denoise, family, params, batch, *, scan=False):
    """End points less the reference's [m, b, *event] of a table of a `Learnable` family.

    Args: denoise(target, z [*event], t) -> E[x0 | z] [*event]; scan as in `run_rows`. Source:
    definition.
    """
    rows = family.decode(params)

    def one(target, mean, z):
        denoiser = lambda z, t: denoise(target, z, t)
        return run_rows(process, denoiser, rows, z, first=family.first, mean=mean, scan=scan)

    ends = jax.vmap(jax.vmap(one, (None, None, 0)))(batch.targets, batch.means, batch.starts)
    return ends - batch.ends


def _flat_misses(process, denoise, family, params, batch, scan):
    apart = misses(process, denoise, family, params, batch, scan=scan)
    return apart.reshape(*apart.shape[:2], -1)


def gauss_newton(process, denoise, family, *, relative=True, damping=1e-2, floor=0.05, scan=False):
    """A Trainer that learns a `Learnable` family by damped Gauss-Newton steps: init(params) ->
    state, step(key, state, batch) -> (state, info), with a `Batch` of runs [m, b, *event].

    A table has tens of numbers, so the whole Jacobian costs as many forward derivatives, and ten to
    thirty steps replace thousands of a first-order optimiser. The loss is the mean over targets of
    log(mean distance) (relative, so that hard targets do not outweigh the others), or the mean
    distance: distances are turned into squares by reweighting, with weights of those below `floor`
    times their mean held. Of four dampings the best is taken; a step that lowers no loss is
    refused. A fresh batch for every step keeps the table from fitting its targets. `scan` as in
    `run_rows`.
    Source: Levenberg 1944; Marquardt 1963; the weights are those of Holland and Welsch 1977.
    """

    def distances(params, batch):
        apart = _flat_misses(process, denoise, family, params, batch, scan)
        return jnp.sqrt(jnp.sum(apart**2, -1))

    def loss_of(distance):
        means = jnp.mean(distance, 1)
        return jnp.mean(jnp.log(means) if relative else means)

    def step(key, state, batch):
        flat, unflatten = ravel_pytree(state.params)
        apart, push = jax.linearize(
            lambda flat: _flat_misses(process, denoise, family, unflatten(flat), batch, scan), flat
        )
        slopes = jax.vmap(push)(jnp.eye(flat.size, dtype=flat.dtype))
        distance = jnp.sqrt(jnp.sum(apart**2, -1))
        means = jnp.mean(distance, 1, keepdims=True)
        weights = 1 / (jnp.maximum(distance, floor * means) * distance.size)
        weights = weights / means if relative else weights
        weighted = slopes * weights[None, ..., None]
        square = jnp.tensordot(weighted, slopes, ((1, 2, 3),) * 2)
        slope = jnp.tensordot(weighted, apart, 3)
        before = loss_of(distance)

        def candidate(damping):
            diagonal = jnp.diag(square)
            ridge = damping * diagonal + 1e-6 * jnp.mean(diagonal)
            move = -jnp.linalg.solve(square + jnp.diag(ridge), slope)
            move = move / jnp.maximum(1.0, 2 * jnp.max(jnp.abs(move)))
            after = loss_of(distances(unflatten(flat + move), batch))
            return flat + move, jnp.where(jnp.isfinite(after), after, jnp.inf)

        dampings = state.inner * jnp.asarray(CANDIDATES, flat.dtype)
        moved, losses = jax.lax.map(candidate, dampings)
        best = jnp.argmin(losses)
        better = losses[best] < before
        params = unflatten(jnp.where(better, moved[best], flat))
        inner = jnp.where(better, jnp.maximum(dampings[best], LEAST_DAMPING), dampings[-1])
        return LearnState(params, inner), LearnInfo(before, means[:, 0])

    return Trainer(lambda params: LearnState(params, jnp.asarray(damping, float)), step)


def first_order(process, denoise, family, optimiser, *, relative=True, scan=False):
    """A Trainer that learns a `Learnable` family with any optimiser of optax's shape, a pair init
    and update: init(params) -> state, step(key, state, batch) -> (state, info).

    For tables of networks too large for `gauss_newton`'s Jacobian, whose loss it takes, on a
    `Batch` of runs [m, b, *event]. Source: definition.
    """

    def loss(params, batch):
        apart = _flat_misses(process, denoise, family, params, batch, scan)
        means = jnp.mean(jnp.sqrt(jnp.sum(apart**2, -1) + 1e-12), 1)
        return jnp.mean(jnp.log(means) if relative else means), means

    def step(key, state, batch):
        (value, means), slopes = jax.value_and_grad(loss, has_aux=True)(state.params, batch)
        updates, inner = optimiser.update(slopes, state.inner, state.params)
        params = jax.tree.map(jnp.add, state.params, updates)
        return LearnState(params, inner), LearnInfo(value, means)

    return Trainer(lambda params: LearnState(params, optimiser.init(params)), step)
