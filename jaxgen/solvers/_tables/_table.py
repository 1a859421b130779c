"""A sampler is a table: one evaluation and one weighted sum a row.

    z <- P z + sum_j C_j held_j + N noise,

with the predictions held_j made at this row and at rows before it. Multistep methods fill a row per
step. A method with stages, a corrector or both fits too, with a row per evaluation: the state that
an earlier row started from is (P^-1 times) the present one less what was added since, so that it
need not be kept. Source: derived.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import apply, namespace, total
from jaxgen.processes import is_diagonal, num_blocks
from jaxgen.solvers._solve import guarded
from jaxgen.solvers._tables import _entries
from jaxgen.solvers._tables._density import hold_trace, pair
from jaxgen.solvers._tables._frame import columns
from jaxgen.solvers._tables._moments import carry
from jaxgen.solvers._tables._noise import log_weight
from jaxgen.types import Solver


class TableRow(NamedTuple):
    """One row of a table of width k. Source: definition."""

    t: Any  # [] where the denoiser is evaluated
    t_next: Any  # []
    read: Any  # (from z, from x0hat) to the held prediction; None when x0hat itself is held
    propagate: Any  # [] or [c, c]
    weights: Any  # [k], [k, c, c] or [k, c]
    noise: Any = None  # [] or [c, c], or None: no noise
    density: Any = None  # `DensityRow`, or None
    path: Any = None  # `PathRow`, or None: no path weights


class TableState(NamedTuple):
    """The running state of a table of width k. Source: definition."""

    x: Any  # [*event] or [c, *event]
    history: Any  # tuple of k - 1 held predictions, the latest first
    traces: Any  # tuple of k - 1 held traces, () when no density is carried


class TableInfo(NamedTuple):
    """What a row reports. Source: definition."""

    t: Any  # [] the time reached
    log_density: Any  # [...] log p(z(b), b) - log p(z(a), a) in nats, or None
    log_weight: Any = None  # [] log forward(z_t | z_s) - log step(z_s | z_t), s = t_next, or None


def table(process, denoiser, plan, *, width, hold, order, evaluations=lambda n: n, divergence=None):
    """The Solver that runs the `TableRow`s of plan(ts): one evaluation and one weighted sum of
    `width` predictions a row; z is [*event] or [c, *event]. For a process diagonal in a basis every
    number of a row but its times is an array [*event], and products are entry by entry.

    Source: definition.
    """
    denoiser, blocks = guarded(process, denoiser), num_blocks(process)
    entries = is_diagonal(process)
    divergence = _of_entries(divergence) if entries else divergence

    def init(x, ts):
        held, trace = jax.eval_shape(
            lambda z, t: _evaluate(denoiser, divergence, z, t), x, jnp.zeros((), jnp.float32)
        )
        empty = jax.tree.map(
            lambda like: jnp.zeros(like.shape, like.dtype), x if hold == "eps" else held
        )
        traces = ()
        if divergence is not None:
            lifted = (
                trace.shape
                if blocks is None
                else (*trace.shape[:-1], *((blocks,) * (2 if hold == "eps" else 1)))
            )
            traces = (jnp.zeros(lifted, trace.dtype),) * (width - 1)
        return TableState(x, (empty,) * (width - 1), traces)

    def step(key, state, row):
        x0, trace = _evaluate(denoiser, divergence, state.x, row.t)
        held = hold_prediction(row.read, state.x, x0, entries=entries)
        history = (held, *state.history)
        terms = [apply(row.propagate, state.x, entries=entries)]
        terms += [apply(row.weights[j], history[j], entries=entries) for j in range(width)]
        if row.noise is not None:
            noise = noise_like(key, state.x)
            terms.append(apply(row.noise, noise, entries=entries))
        x, traces, change = total(terms), (), None
        if divergence is not None and entries:
            change, held = _entries.density_change(row.density, state.traces, trace, hold)
            traces = (held, *state.traces)
        elif divergence is not None:
            size = state.x.size if blocks is None else state.x.size // blocks
            traces = (hold_trace(row.density.read, trace, size, hold, blocks), *state.traces)
            paired = [pair(row.density.weights[j], traces[j], hold, blocks) for j in range(width)]
            change = -size * row.density.log_det - sum(paired)
        kept = width - 1
        weigh = _entries.log_weight if entries else log_weight
        weight = None if row.path is None else weigh(row.path, state.x, history, noise)
        return (
            TableState(x, history[:kept], traces[:kept]),
            TableInfo(row.t_next, change, weight),
        )

    return Solver(plan, init, step, order, evaluations)


class Stages(NamedTuple):
    """Steps of s evaluations each, all written from the start of the step: z_i = P_i z_0 + sum_j
    C_ij held_j for i = 1 ... s, the last the end of the step. Source: definition.
    """

    times: Any  # [n, s] where the evaluations are made
    base: Any  # [n, s + 1, ...] U at the start, at z_1 ... z_s
    weights: Any  # [n, s, k, ...] C_ij on the evaluations of the step, the latest of row i first


def rows_of_stages(process, ts, stages, read):
    """`TableRow`s of n steps with s evaluations each: row i moves z_i to z_(i+1).

    Source: derived.
    """
    xp = namespace(process, ts)
    flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
    if stages.base.ndim == 2:
        hops = flat(stages.base[:, 1:] / stages.base[:, :-1])
    else:
        hops = flat(stages.base[:, 1:] @ xp.linalg.inv(stages.base[:, :-1]))
    added = stages.weights
    behind = xp.concatenate([0 * added[:, :1], added[:, :-1]], 1)  # what z_i has over P_i z_0
    aged = xp.concatenate([0 * behind[:, :, :1], behind[:, :, :-1]], 2)
    ends = xp.concatenate([stages.times[:, 1:], ts[1:, None]], 1)
    weights = flat(added) - carry(hops, flat(aged))
    return TableRow(flat(stages.times), flat(ends), read, hops, weights)


def reading(process, phi, root):
    """(from z, from x0hat) [m, ...] that make the held eps = R^-1 (z - Phi_0 x0hat) of phi and root
    [m, ...].

    Source: definition.
    """
    xp = namespace(root)
    column = columns(process, phi)
    if root.ndim == 1:
        return 1 / root, -column / root
    inverse = xp.linalg.inv(root)
    return inverse, -xp.einsum("nij,nj->ni", inverse, column)


def hold_prediction(read, z, x0, *, entries=False):
    """The held prediction, shaped as x0 [*event] or z [c, *event]. Source: definition."""
    if read is None:
        return x0
    return total([apply(read[0], z, entries=entries), apply(read[1], x0, entries=entries)])


def noise_like(key, x):
    """Unit normal noise shaped as x: [*event], [c, *event], or a tree, its leaves independent.

    Source: definition.
    """
    leaves, treedef = jax.tree.flatten(x)
    keys = [key] if len(leaves) == 1 else jax.random.split(key, len(leaves))
    draws = [
        jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, draws)


def _of_entries(divergence):
    return None if divergence is None else functools.partial(divergence, entries=True)


def _evaluate(denoiser, divergence, z, t):
    if divergence is None:
        return denoiser(z, t), None
    return divergence(lambda inner: denoiser(inner, t), z)
