"""Where on its way a sampler goes wrong: the error of each step, and what the flow makes of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import working_dtype
from jaxgen.processes import is_diagonal
from jaxgen.solvers._solve import solve
from jaxgen.solvers.exponential import rho_rk


class Anatomy(NamedTuple):
    """Errors of a sampler along its stops, root mean squares over the event. Source: definition."""

    t: Any  # [n] the stops reached
    modular: Any  # [n] of each step alone: from the sampler's own state to where the flow goes
    carried: Any  # [n] what the flow over this step makes of the error before it
    cumulative: Any  # [n] of all steps so far, at most carried + modular

    @property
    def amplification(self):
        """Carried error over the error it came from [n - 1]: above 1 the flow makes it grow."""
        return self.carried[1:] / self.cumulative[:-1]


def error_anatomy(key, process, denoiser, solver, x, ts, *, fine=16):
    """The `Anatomy` of a deterministic solver run from x [*event] or [c, *event] along ts [n + 1].

    The flow between two stops is followed by `fine` fourth-order Runge-Kutta steps, four
    evaluations each, from the sampler's state and from the exact one. Raises ValueError when fine <
    1, and as `solve`.
    Source: Li and van der Schaar 2024, arXiv 2308.05021, definitions 3.1-3.2, with distances
    between states in place of their divergences between laws: the propagation equation becomes a
    triangle inequality.
    """
    if fine < 1:
        raise ValueError(f"solvers.error_anatomy: fine must be at least 1; got {fine}")
    clock = "t" if is_diagonal(process) else "log_snr"  # stages at common times
    exact = rho_rk(process, denoiser, hold="x0", clock=clock)
    path, _ = solve(key, solver, x, ts, trajectory=True)
    times = np.asarray(solver.plan(ts).t_next)
    stops = np.concatenate([[0], [np.flatnonzero(times == t)[-1] + 1 for t in np.asarray(ts)[1:]]])
    path = jax.tree.map(lambda leaf: leaf[stops], path)
    shares = np.linspace(0.0, 1.0, fine + 1)
    rows = [
        exact.plan(start + (stop - start) * shares)
        for start, stop in zip(np.asarray(ts)[:-1], np.asarray(ts)[1:], strict=True)
    ]
    dtype = working_dtype(x)
    rows = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves), dtype), *rows)

    def flow(z, rows):
        tabled = exact._replace(plan=lambda ts: rows)
        return solve(key, tabled, z, np.array([1.0, 0.0]))[0]

    def step(true, indexed):
        z, z_next, rows = indexed
        from_here, true_next = flow(z, rows), flow(true, rows)
        sizes = (_away(z_next, from_here), _away(from_here, true_next), _away(z_next, true_next))
        return true_next, sizes

    before, after = (jax.tree.map(lambda leaf, s=s: leaf[s], path) for s in (np.s_[:-1], np.s_[1:]))
    first = jax.tree.map(lambda leaf: leaf[0], path)
    _, sizes = jax.lax.scan(step, first, (before, after, rows))
    return Anatomy(jnp.asarray(ts[1:], dtype), *sizes)


def _away(a, b):
    squares = [
        jnp.sum((one - other) ** 2)
        for one, other in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    ]
    return jnp.sqrt(sum(squares) / sum(leaf.size for leaf in jax.tree.leaves(a)))
