"""Processes with coefficients diagonal in a basis: one scalar process for each entry of the event.

Whatever is worked out for a scalar process (a transition, a solver's table) is worked out for each
distinct entry and laid out along the event.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.math import namespace, working_dtype
from jaxgen.types import DiagonalForward

MOST = 8000  # distinct entries that are worked out one by one on the host


def is_diagonal(process):
    """Whether a process has one scalar process for each entry of its event [*event].

    Source: definition.
    """
    return isinstance(process, DiagonalForward)


def refuse_diagonal(where, process):
    """Raises ValueError on a process whose coefficients are arrays [*event].

    Source: definition.
    """
    if is_diagonal(process):
        raise ValueError(
            f"{where}: the process must be scalar or of blocks; got one diagonal in a basis, "
            f"of event {event_shape(process)}"
        )


def event_shape(process):
    """The shape [*event] of a diagonal process's event, a tuple. Source: definition."""
    return np.shape(process.entries.t_max)


def diagonal(entries, t_min, t_max):
    """The `DiagonalForward` of scalar processes `entries`, all of whose leaves lead with [*event].

    Source: definition.
    """
    reads = (Partial(fn, entries) for fn in (_drift, _diffusion, _transition))
    return DiagonalForward(entries, *reads, t_min, t_max)


def over_entries(fn, tree, shape, *, where="processes"):
    """(varying, common) of fn(one entry of the tree) -> (varying, common), for the entries of a
    tree whose leaves lead with `shape` = [*event]: varying leaves [...] become [..., *event],
    common ones must not depend on the entry.

    NumPy leaves are worked out on the host, once for each distinct entry; others by `jax.vmap`.
    Raises ValueError where common leaves differ. Source: definition.
    """
    size = math.prod(shape)
    flat = jax.tree.map(
        lambda leaf: leaf.reshape(size, *np.shape(leaf)[len(shape) :]), _arrays(tree)
    )
    if namespace(flat) is np:
        columns = [np.asarray(leaf, float).reshape(size, -1) for leaf in jax.tree.leaves(flat)]
        _, first, places = np.unique(
            np.concatenate([np.zeros((size, 1)), *columns], 1),
            axis=0,
            return_index=True,
            return_inverse=True,
        )
        flat = jax.tree.map(lambda leaf: leaf[first], flat)
        if len(first) <= MOST:
            varying, common = _one_by_one(fn, flat, len(first), where)
        else:
            with jax.ensure_compile_time_eval(), jax.enable_x64(True):
                varying, common = jax.tree.map(np.asarray, _mapped(fn, flat, where))
        places = places.reshape(-1)
        varying = jax.tree.map(lambda leaf: leaf[..., places], varying)
    else:
        varying, common = _mapped(fn, flat, where)
    return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:-1], *shape), varying), common


def _arrays(tree):
    return jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), tree
    )


def _one_by_one(fn, flat, count, where):
    found = [fn(jax.tree.map(lambda leaf, i=i: leaf[i], flat)) for i in range(count)]
    varying = jax.tree.map(lambda *leaves: np.stack(leaves, -1), *(one for one, _ in found))
    for _, common in found[1:]:
        pairs = zip(jax.tree.leaves(common), jax.tree.leaves(found[0][1]), strict=True)
        if not all(np.array_equal(ours, theirs) for ours, theirs in pairs):
            raise _not_common(where)
    return varying, found[0][1]


def _mapped(fn, flat, where):
    try:
        return jax.vmap(fn, out_axes=(-1, None))(flat)
    except ValueError as error:
        if "out_axes" in str(error):
            raise _not_common(where) from error
        raise


def _not_common(where):
    return ValueError(
        f"{where}: evaluations must be at the same times for all entries of a diagonal process; "
        "got stages placed in the log-SNR of each entry (use clock='t', or no stages)"
    )


def _evaluate(name, entries, t):
    """The function `name` of all entries at times t [...]: [..., *event]."""
    shape = np.shape(entries.t_max)
    if not (isinstance(t, np.ndarray | np.generic) and namespace(entries) is np):
        t = jnp.asarray(t, working_dtype(1.0 * t))
        entries = jax.tree.map(lambda leaf: jnp.asarray(leaf, t.dtype), entries)
    return over_entries(lambda entry: (getattr(entry, name)(t), ()), entries, shape)[0]


def _drift(entries, t):
    return _evaluate("drift", entries, t)


def _diffusion(entries, t):
    return _evaluate("diffusion", entries, t)


def _transition(entries, t):
    return _evaluate("transition", entries, t)
