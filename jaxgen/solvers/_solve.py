"""The loop, written once."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete, working_dtype
from jaxgen.processes import data_part, num_blocks


def solve(key, solver, x, ts, *, unroll=1, trajectory=False, checkpoint=False):
    """(x, infos): the end point [*event] of a solver run from x along the stops ts [n + 1], and
    what each step reported.

    With trajectory=True x is [m + 1, *event], all m steps and the start (m > n where a solver adds
    stops of its own; their times are the rows of `solver.plan(ts)`). Times may rise or fall; ts
    from `jaxgen.grids` are float64 and make float64 tables even inside a float32 computation.
    Tables are cast to the dtype of x, at least float32. Step i draws its noise from fold_in(key,
    i): under `vmap` one shared key gives every example the same noise, so split keys. Infos have a
    leading axis m. `unroll` is that of `jax.lax.scan`: raise it where gradients of convolutions
    inside a scan are slow. With checkpoint=True reverse-mode gradients keep about 3 m^(1/3) states
    instead of everything inside all m steps, for at most two more runs of the way there.
    Raises ValueError when ts is not a strictly monotone, finite [n + 1], n >= 1, or a step count
    does not suit the solver.
    Source: definition.
    """
    check_stops(ts)
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), x)  # no weak types
    dtype = working_dtype(x)
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), solver.plan(ts))
    length = jax.tree.leaves(rows)[0].shape[0]

    def body(state, indexed):
        index, row = indexed
        state, info = solver.step(jax.random.fold_in(key, index), state, row)
        return state, (state[0] if trajectory else None, info)

    scan = _recursive if checkpoint else jax.lax.scan
    state, (path, infos) = scan(body, solver.init(x, ts), (jnp.arange(length), rows), unroll=unroll)
    if trajectory:
        return jax.tree.map(
            lambda first, rest: jnp.concatenate([jnp.asarray(first)[None], rest]), x, path
        ), infos
    return state[0], infos


def _recursive(body, state, xs, *, unroll, levels=3):
    """`jax.lax.scan` in blocks of blocks of steps, each forgotten until its gradient is due."""
    length = jax.tree.leaves(xs)[0].shape[0]
    if levels == 1 or length <= 2:
        return jax.lax.scan(jax.checkpoint(body, prevent_cse=False), state, xs, unroll=unroll)
    size = math.ceil(length ** ((levels - 1) / levels))
    count = length // size
    inside = jax.checkpoint(
        lambda state, xs: _recursive(body, state, xs, unroll=unroll, levels=levels - 1),
        prevent_cse=False,
    )
    split = lambda leaf: leaf[: count * size].reshape(count, size, *leaf.shape[1:])
    state, found = jax.lax.scan(inside, state, jax.tree.map(split, xs))
    found = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)
    if count * size < length:
        rest = jax.tree.map(lambda leaf: leaf[count * size :], xs)
        state, last = inside(state, rest)
        found = jax.tree.map(lambda *parts: jnp.concatenate(parts), found, last)
    return state, found


def check_stops(ts):
    """Raises ValueError unless ts is [n + 1], n >= 1, and, where concrete, finite and strictly
    monotone.

    Source: definition.
    """
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 2:
        raise ValueError(
            "solvers.solve: ts must have shape [n + 1] with at least one step; "
            f"got shape {np.shape(ts)}"
        )
    if is_concrete(ts):
        gaps = np.diff(np.asarray(ts))
        if not np.all(np.isfinite(gaps)) or not (np.all(gaps > 0) or np.all(gaps < 0)):
            raise ValueError(
                "solvers.solve: ts must be finite and strictly rising or falling; "
                f"got {np.asarray(ts)}"
            )


def check_inside(name, process, ts, *, falling=False):
    """Raises ValueError when concrete stops ts [n + 1] leave [t_min, t_max], or rise where only
    falling ones make sense.

    A scalar process may start beyond t_max where alpha = 0, its pure noise. Source: definition.
    """
    if not is_concrete(process, ts):
        return
    low, high = float(np.min(ts)), float(np.max(ts))
    t_min, t_max = float(process.t_min), float(process.t_max)
    slack = 1e-6 * (t_max - t_min)
    if low < t_min - slack or (high > t_max + slack and not _is_pure_noise(process, high)):
        raise ValueError(f"{name}: stops must lie in [{t_min}, {t_max}]; got [{low}, {high}]")
    if falling and ts[0] < ts[-1]:
        raise ValueError(f"{name}: stops must fall from noise to data; got {ts[0]} to {ts[-1]}")


def _is_pure_noise(process, t):
    return num_blocks(process) is None and np.all(process.transition(np.float64(t))[0] == 0)


def guarded(process, denoiser):
    """The denoiser, with a check when it is traced that it returns x0hat [*event], the shape of the
    data part of z: a wrong shape would broadcast in silence.

    Source: definition.
    """

    def checked(z, t):
        x0 = denoiser(z, t)
        chex.assert_trees_all_equal_shapes(x0, data_part(process, z))
        return x0

    return checked
