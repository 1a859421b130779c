"""The analytic first evaluation: at pure noise the prediction is known without a network."""

import jax
import jax.numpy as jnp

from jaxgen.math import working_dtype
from jaxgen.processes import data_part

NAME = "solvers.exponential.known_first"


def known_first(process, denoiser, *, make, mean=0.0):
    """The Solver make(process, denoiser) without its first evaluation, in whose place the mean of
    the data, a number or an array [*event], is taken for x0hat; z is [*event] or [c, *event].

    At pure noise E[x0 | z] is that mean, exactly where alpha = 0 and nearly at the t_max of other
    processes. The first row is done by `init`, so that `evaluations` are one fewer, and a
    trajectory of `solve` lacks its second point. Raises ValueError (from plan) where that row draws
    noise or carries a density, or is the only one.
    Source: Liu et al. 2023, arXiv 2312.07243, section 3 (the analytic first step); derived.
    """
    solver = make(process, denoiser)

    def fixed(z, t):
        data = data_part(process, z)
        whole = jax.tree.structure(mean) == jax.tree.structure(data)
        values = mean if whole else jax.tree.map(lambda _: mean, data)
        fill = lambda leaf, value: jnp.broadcast_to(jnp.asarray(value, leaf.dtype), leaf.shape)
        return jax.tree.map(fill, data, values)

    first = make(process, fixed)

    def whole(ts):
        rows = solver.plan(ts)
        if jax.tree.leaves(rows)[0].shape[0] < 2:
            raise ValueError(f"{NAME}: the table must have two rows or more; got one")
        for field in ("noise", "density"):
            if getattr(rows, field, None) is not None:
                raise ValueError(f"{NAME}: the first row must be without {field}; got a table with")
        return rows

    def init(x, ts):
        dtype = working_dtype(x)
        row = jax.tree.map(lambda leaf: jnp.asarray(leaf[0], dtype), whole(ts))
        state = solver.init(x, ts)
        moved, _ = first.step(None, state, row)
        return jax.tree.map(lambda new, old: new.astype(old.dtype), moved, state)

    return solver._replace(
        plan=lambda ts: jax.tree.map(lambda leaf: leaf[1:], whole(ts)),
        init=init,
        evaluations=lambda n: solver.evaluations(n) - 1,
    )
