"""Tables of processes that are diagonal in a basis: the rows of every entry's scalar process, side
by side.

Each entry even has its own log-SNR clock; only the times of the evaluations must be common.
"""

import jax
import jax.numpy as jnp

from jaxgen.math import apply, total, working_dtype
from jaxgen.processes import event_shape, is_diagonal, over_entries

TIMES = ("t", "t_next")


def by_entry(where, build):
    """build(process, ts, *numbers) -> rows [n, ...] for scalar and block processes, made to give
    rows [n, ..., *event] for a diagonal one, with common t and t_next [n].

    Raises ValueError (from the made function) where entries would be evaluated at different times.
    Source: definition.
    """

    def whole(process, ts, *numbers):
        if not is_diagonal(process):
            return build(process, ts, *numbers)
        rest, times = over_entries(
            lambda entry: _part(build(entry, ts, *numbers)),
            process.entries,
            event_shape(process),
            where=where,
        )
        return _join(rest, iter(times))

    return whole


def _part(rows):
    """Rows without their times, and the times, in the order of the fields."""
    if not hasattr(rows, "_fields"):
        return rows, []
    kept, times = {}, []
    for field, leaf in rows._asdict().items():
        inner, more = ((), [leaf]) if field in TIMES else _part(leaf)
        kept[field] = inner
        times += more
    return rows._replace(**kept), times


def _join(rows, times):
    if not hasattr(rows, "_fields"):
        return rows
    fill = lambda field, leaf: next(times) if field in TIMES else _join(leaf, times)
    return rows._replace(**{field: fill(field, leaf) for field, leaf in rows._asdict().items()})


def density_change(row, traces, trace, hold):
    """(change of log-density [...], latest held trace [..., *event]) of a step, from the diagonal
    [..., *event] of d x0hat/dz and held ones.

    Source: as `_density`, entry by entry.
    """
    rank = row.log_det.ndim
    wide = lambda leaf: leaf.reshape((1,) * (trace.ndim - rank) + leaf.shape)
    held = wide(row.read[0]) + wide(row.read[1]) * trace
    paired = sum(wide(w) * one for w, one in zip(row.weights, (held, *traces), strict=True))
    axes = tuple(range(trace.ndim - rank, trace.ndim))
    return -jnp.sum(row.log_det) - jnp.sum(paired, axes), held


def log_weight(row, z, history, noise):
    """log forward(z_t | z_s) - log step(z_s | z_t) [] in nats of a step, entry by entry.

    Source: as `_noise.log_weight`.
    """
    wide = lambda tree: jax.tree.map(lambda leaf: leaf.astype(working_dtype(leaf)), tree)
    noise = wide(noise)
    terms = [apply(row.keep, wide(z), entries=True), apply(row.noise, noise, entries=True)]
    pairs = zip(row.weights, history, strict=True)
    terms += [apply(weight, wide(held), entries=True) for weight, held in pairs]
    return jnp.sum(noise**2 - total(terms) ** 2) / 2 + jnp.sum(row.log_ratio)
