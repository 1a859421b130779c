"""The adjoint of the probability flow, integrated by the same exponential tables as the flow.

With y = U^-1 z the flow is dy = dV held(z, t), so the adjoint a_y = U^T dL/dz obeys da_y = -(d
held / dy)^T dV^T a_y: the same measure dV, and W = U^T (d held / dz)^T a_y^c is held polynomial
where the flow holds its prediction. Parameters gather int (d held / d params)^T dV^T a_y.
Source: derived; Pan et al. 2024, arXiv 2307.10711 and Blasingame and Liu 2024, arXiv 2405.15020 for
scalar processes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import apply, contract, namespace, on_host, total, working_dtype
from jaxgen.processes import data_part, num_blocks, refuse_diagonal
from jaxgen.solvers._solve import check_inside, check_stops, solve
from jaxgen.solvers._tables._frame import frame
from jaxgen.solvers._tables._moments import carry, ramped
from jaxgen.solvers._tables._options import CLOCKS, HOLDS, choose, whole_order
from jaxgen.solvers._tables._table import hold_prediction, reading
from jaxgen.solvers.exponential import adams_bashforth

STATES = ("backsolve", "stored")


class AdjointRow(NamedTuple):
    """One evaluation on the way back. Source: definition."""

    t: Any  # []
    read: Any  # (from z, from x0hat) to the held prediction; None when x0hat itself is held
    base: Any  # [] or [c, c]: U
    weights: Any  # [k] or [k, c], moments of dV over the next step back
    gathered: Any  # [] or [c], all moments that this evaluation enters, for the parameters
    flow: Any  # (propagate, weights) of the state's own step back


def adjoint_dpm(process, denoise, ts, *, order=2):
    """run(key, params, x) -> z at the end of ts, by rhoAB-DEIS of `order`, whose gradient solves
    the adjoint in the same variable, with the state solved backwards beside it: memory does not
    grow with the steps.

    z is [*event]. Raises ValueError for a block process, whose noise prediction has no scalar rho
    (use `adjoint_deis(hold="x0")`), and as `adjoint_deis`. Source: Pan et al. 2024, arXiv
    2307.10711, equations 6-8.
    """
    options = dict(order=order, hold="eps", clock="rho", state="backsolve")
    return _adjoint("adjoint_dpm", process, denoise, ts, **options)


def adjoint_deis(
    process,
    denoise,
    ts,
    *,
    order=2,
    hold=None,
    clock="log_snr",
    state="stored",
    solver=None,
    tau=0.0,
):
    """run(key, params, x) -> z at the end of ts [n + 1], by exponential Adams-Bashforth of `order`
    (1 or 2), whose gradient is the adjoint equation solved by the same method on the way back.

    Args: denoise(params, z, t) -> x0hat [*event]; hold, "eps" (scalar processes; their default) or
        "x0" (any, the default of blocks); clock as `adams_bashforth`; state: "stored" keeps the n
        states of the way there, "backsolve" solves them backwards again; solver(process, denoiser)
        -> Solver of the way there, if another, also a stochastic one of noise level tau (0 the
        flow, 1 the reverse SDE), whose noise is frozen: the adjoint is an ODE whose forcing is
        1 + tau^2 times that of the flow.
    z is [*event] or [c, *event]. The gradient is that of the flow, not of the discrete sampler: it
    converges with `order` (with tau > 0 with order 1). One evaluation and one vector-Jacobian
    product (c for blocks) a step back. Raises ValueError on options outside these and stops outside
    the process.
    Source: Blasingame and Liu 2024, arXiv 2405.15020; any clock and block process derived.
    """
    if hold is None:
        hold = "eps" if num_blocks(process) is None else "x0"
    options = dict(order=order, hold=hold, clock=clock, state=state, solver=solver, tau=tau)
    return _adjoint("adjoint_deis", process, denoise, ts, **options)


def _adjoint(name, process, denoise, ts, *, order, hold, clock, state, solver=None, tau=0.0):
    where = f"solvers.adjoint.{name}"
    refuse_diagonal(where, process)
    whole_order(name, order, 1, 2, door="adjoint")
    choose(name, "hold", hold, HOLDS, door="adjoint")
    choose(name, "clock", clock, CLOCKS, door="adjoint")
    choose(name, "state", state, STATES, door="adjoint")
    if hold == "eps" and num_blocks(process) is not None:
        raise ValueError(f"{where}: hold must be 'x0' for a block process; got 'eps'")
    if solver is not None and state != "stored":
        raise ValueError(f"{where}: state must be 'stored' for a solver of your own; got {state!r}")
    if tau != 0 and (hold != "eps" or solver is None):
        raise ValueError(
            f"{where}: tau must be 0 without a stochastic solver and hold='eps'; got tau={tau}, "
            f"hold={hold!r}"
        )
    check_stops(ts)
    check_inside(where, process, ts)
    if order > np.shape(ts)[0] - 1:
        raise ValueError(
            f"{where}: order must be at most the number of steps; got order {order}, "
            f"{np.shape(ts)[0] - 1} steps"
        )
    if solver is None:
        solver = lambda process, denoiser: adams_bashforth(
            process, denoiser, order=order, hold=hold, clock=clock
        )

    def forward(key, params, x):
        made = solver(process, lambda z, t: denoise(params, z, t))
        found = solve(key, made, x, ts, trajectory=state == "stored")[0]
        if state == "stored" and jax.tree.leaves(found)[0].shape[0] != np.shape(ts)[0]:
            raise ValueError(f"{where}: solver must stop only at the stops of ts; it adds its own")
        return found

    @jax.custom_vjp
    def run(key, params, x):
        end = forward(key, params, x)
        return jax.tree.map(lambda leaf: leaf[-1], end) if state == "stored" else end

    def there(key, params, x):
        found = forward(key, params, x)
        end = jax.tree.map(lambda leaf: leaf[-1], found) if state == "stored" else found
        return end, (params, found)

    def back(kept, cotangent):
        params, found = kept
        build = lambda process, ts: _rows(process, ts, order, hold, clock, tau)
        rows = on_host(build, process, ts[::-1])
        return None, *_way_back(process, denoise, state, params, found, cotangent, rows)

    run.defvjp(there, back)
    return run


def _way_back(process, denoise, state, params, found, cotangent, rows):
    """(dL/dparams, dL/dx) from dL/dz at the end; `found` is the end, or all states on the way."""
    rows, last = jax.tree.map(lambda leaf: jnp.asarray(leaf, working_dtype(cotangent)), rows)
    backsolve, blocks = state == "backsolve", num_blocks(process)
    order = rows.weights.shape[1]
    stored = None if backsolve else jax.tree.map(lambda leaf: leaf[:0:-1], found)
    a = apply(_transpose(rows.base[0]), cotangent)

    def step(carried, indexed):
        (z, a, held, pulled, gradient), (row, at) = carried, indexed
        z = z if backsolve else at
        x0, pull = jax.vjp(lambda params, z: denoise(params, z, row.t), params, z)
        if blocks is None:
            slope, through = pull(a if row.read is None else apply(row.read[1], a))
            if row.read is not None:
                through = total([through, apply(row.read[0], a)])
            through = apply(row.base, through)
        else:
            slope, through = jax.vmap(pull)(a)
            through = jax.vmap(lambda leaf: apply(_transpose(row.base), leaf))(through)
        slope = jax.tree.map(lambda leaf: _gather(row.gathered, leaf), slope)
        pulled = (through, *pulled)
        a = total([a] + [contract(-row.weights[j], pulled[j]) for j in range(order)])
        if backsolve:
            held = (hold_prediction(row.read, z, x0), *held)
            propagate, weights = row.flow
            z = total([apply(propagate, z)] + [apply(weights[j], held[j]) for j in range(order)])
        gradient = jax.tree.map(jnp.subtract, gradient, slope)
        z = z if backsolve else None
        return (z, a, held[: order - 1], pulled[: order - 1], gradient), None

    zeros = lambda tree, lead=(): jax.tree.map(
        lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype), tree
    )
    likes = data_part(process, cotangent) if rows.read is None else cotangent
    held = (zeros(likes),) * (order - 1) if backsolve else ()
    pulled = (zeros(cotangent, () if blocks is None else (blocks,)),) * (order - 1)
    begun = (found if backsolve else None, a, held, pulled, zeros(params))
    (_, a, _, _, gradient), _ = jax.lax.scan(step, begun, (rows, stored))
    return gradient, apply(jnp.linalg.inv(last).T if blocks else 1 / last, a)


def _transpose(base):
    return base if base.ndim == 0 else base.T


def _gather(weights, slopes):
    """Sum of the parameters' slopes [...] or [c, ...], weighted by [] or [c]."""
    weights = weights.astype(slopes.dtype)
    return weights * slopes if weights.ndim == 0 else jnp.tensordot(weights, slopes, 1)


def _rows(process, ts, order, hold, clock, tau):
    """`AdjointRow`s [n, ...] along stops that run back."""
    xp = namespace(process, ts)
    parts = frame(process, ts, hold=hold, clock=clock if order > 1 else "t")
    weights = ramped(parts, order, lambda nodes: range(0, -nodes, -1)) * (1 + tau**2)
    n = weights.shape[0]
    gathered = sum(
        xp.concatenate([weights[j:, j], xp.zeros((min(j, n), *weights.shape[2:]), weights.dtype)])
        for j in range(order)
    )
    read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
    flow = (parts.step, carry(parts.base[1:], weights))
    return AdjointRow(ts[:-1], read, parts.base[:-1], weights, gathered, flow), parts.base[-1]
