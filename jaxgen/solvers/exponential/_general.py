"""The most general explicit table with one evaluation a row.

    z_(i+1) = sum_j A_ij z_(i-j) + sum_j B_ij x0hat_(i-j),   0 <= j < width.

A noise or a data prediction made at any past evaluation, in any clock, a relaxation, a corrector
and a change of all these from row to row are matters of the numbers A and B. Source: derived; with
width n and free numbers it is the non-stationary family of Shaul et al. 2024, arXiv 2403.01329,
section 3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import apply, is_concrete, namespace, total
from jaxgen.processes import data_part, event_shape, is_diagonal, num_blocks
from jaxgen.solvers._solve import check_inside, guarded
from jaxgen.solvers._tables._table import TableInfo
from jaxgen.types import Solver


class GeneralRow(NamedTuple):
    """One row of a general table of width k. Source: definition."""

    t: Any  # [] where the denoiser is evaluated
    t_next: Any  # []
    past: Any  # [k] or [k, c, c]: A, on the states z_i, z_(i-1), ...
    data: Any  # [k] or [k, c]: B, on the data predictions made there


class GeneralState(NamedTuple):
    """The running state of a general table of width k. Source: definition."""

    x: Any  # [*event] or [c, *event]
    past: Any  # tuple of k - 1 states, the latest first
    data: Any  # tuple of k - 1 data predictions [*event], the latest first


def general(process, denoiser, rows, *, order=1, width=None):
    """The Solver that runs a general table, one evaluation a row: z is [*event] or [c, *event].

    Args: rows, `GeneralRow`s with a leading axis, past [m, k] or [m, k, c, c] and data [m, k] or
        [m, k, c], or a function ts [n + 1] -> such rows; order, what the Solver reports; width, the
        k of a function's rows (else a call of it tells).
    Raises ValueError on rows that do not fit the process, and (from plan) on stops that are not
    among the rows' times or leave [t_min, t_max].
    Source: derived; Shaul et al. 2024, arXiv 2403.01329, section 3.
    """
    denoiser, entries = guarded(process, denoiser), is_diagonal(process)
    if callable(rows):
        plan, count = rows, lambda n: n
    else:
        check_rows("solvers.exponential.general", process, rows)
        length, width = np.shape(rows.t)[0], np.shape(rows.past)[1]
        plan, count = lambda ts: _fitting(process, rows, ts), lambda n: length

    def init(x, ts):
        kept = (plan(ts).past.shape[1] if width is None else width) - 1
        empty = jax.tree.map(jnp.zeros_like, x)
        return GeneralState(x, (empty,) * kept, (data_part(process, empty),) * kept)

    def step(key, state, row):
        past, data = (state.x, *state.past), (denoiser(state.x, row.t), *state.data)
        x = total(
            [apply(row.past[j], z, entries=entries) for j, z in enumerate(past)]
            + [apply(row.data[j], x0, entries=entries) for j, x0 in enumerate(data)]
        )
        kept = len(state.past)
        return GeneralState(x, past[:kept], data[:kept]), TableInfo(row.t_next, None)

    return Solver(plan, init, step, order, count)


def generalise(process, rows):
    """The `GeneralRow`s, past [m, k] or [m, k, c, c] and data [m, k] or [m, k, c], that do what the
    `TableRow`s [m, ...] of any deterministic solver's plan do.

    Raises ValueError on rows with noise. Source: derived.
    """
    if rows.noise is not None:
        raise ValueError(
            "solvers.exponential.generalise: rows must be deterministic; got rows with noise"
        )
    xp = namespace(rows.weights)
    m, width = rows.weights.shape[:2]
    ages = np.arange(width)
    before = np.maximum(np.arange(m)[:, None] - ages[None], 0)
    read = None if rows.read is None else tuple(part[before] for part in rows.read)
    past, data = unheld(rows.weights, read, num_blocks(process))
    own = rows.propagate[:, None]
    past = xp.concatenate([past[:, :1] + own, past[:, 1:]], 1)
    return GeneralRow(rows.t, rows.t_next, past, data)


def unheld(weights, read, blocks):
    """(on z, on x0hat), [m, k] each or [m, k, c, c] and [m, k, c], of weights [m, k, ...] on
    predictions held as `read` (from z, from x0hat) [m, k, ...] says; None when x0hat is held.

    Source: definition.
    """
    xp = namespace(weights)
    if read is None:
        wide = weights.shape if blocks is None else (*weights.shape[:2], blocks, blocks)
        return xp.zeros(wide, weights.dtype), weights
    if blocks is None:
        return weights * read[0], weights * read[1]
    return weights @ read[0], xp.einsum("mkij,mkj->mki", weights, read[1])


def check_rows(where, process, rows):
    """Raises ValueError unless the shapes of `GeneralRow`s fit each other and the process, with
    finite numbers: t, t_next [m], past [m, k] or [m, k, c, c], data [m, k] or [m, k, c]; past and
    data [m, k, *event] for a process diagonal in a basis.

    Source: definition.
    """
    t, t_next, past, data = (np.shape(leaf) for leaf in rows)
    blocks = num_blocks(process)
    c = () if blocks is None else (blocks,)
    on_z, on_x0 = (event_shape(process),) * 2 if is_diagonal(process) else ((*c, *c), c)
    if len(t) != 1 or t != t_next or data != (*past[:2], *on_x0) or past != (*t, *data[1:2], *on_z):
        raise ValueError(
            f"{where}: rows must have shapes t, t_next [m], past {_shape('m', 'k', *on_z)}, data "
            f"{_shape('m', 'k', *on_x0)}; got {t}, {t_next}, {past}, {data}"
        )
    if is_concrete(rows) and not all(np.all(np.isfinite(leaf)) for leaf in rows):
        raise ValueError(f"{where}: rows must be finite; got NaN or infinity")


def _shape(*sides):
    return "[" + ", ".join(str(side) for side in sides) + "]"


def _fitting(process, rows, ts):
    check_inside("solvers.exponential.general", process, ts)
    if is_concrete(rows, ts):
        known = np.concatenate([np.asarray(rows.t)[:1], np.asarray(rows.t_next)])
        ts = np.asarray(ts)
        near = np.abs(ts[:, None] - known[None]).min(1) <= 1e-6 * np.abs(known).max()
        if not near.all() or abs(ts[0] - known[0]) + abs(ts[-1] - known[-1]) > 1e-6:
            raise ValueError(
                "solvers.exponential.general: stops must be the times of the table; "
                f"got {ts}, and a table made at {known}"
            )
    return rows
