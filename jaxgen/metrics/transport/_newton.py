"""Entropic transport by Newton's method on the dual, started by Sinkhorn's iteration.

With f eliminated (row sums of the plan exact), the dual in g is concave with

    gradient b - c,   -epsilon Hessian = diag(c) - Rᵀ diag(a) R,   R_ij = P_ij / a_i,  c = Pᵀ 1,

whose null direction is the constant. The direction comes from conjugate gradients preconditioned by
the exact diagonal, to a tolerance that falls with the error; the dual decides the step length.
From far off, epsilon falls to its value by a factor and Newton follows (a few steps at each).

Sinkhorn's linear rate decides who works: a Newton step costs about as much as 20 to 100 Sinkhorn
iterations, so where these would do (large epsilon, where the Hessian is dense and well conditioned)
they go on.

Source: Tang et al. 2024, arXiv:2401.12253 (Sinkhorn-Newton-Sparse). Deviations: the potential f is
eliminated, which squares the condition number away; entries are dropped by the mass a row retains,
never by a fixed share; epsilon may fall; where the ascent fails a Sinkhorn iteration replaces the
step. By default nothing is dropped: on CPUs a product with a dense matrix is cheaper than finding
its large entries.
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics.transport._problem import (
    Info,
    checked,
    conjugate_gradients,
    coupling,
    g_of_f,
    start_of,
)
from jaxgen.metrics.transport._sinkhorn import LOOSE, falling, first_guess, iterate

Array = jax.Array

WARM = 50  # Sinkhorn iterations before the decision: one block, as in `sinkhorn`
PATIENCE = 100  # predicted further Sinkhorn iterations that are preferred to Newton
PRODUCTS = 500  # of conjugate gradients in one step
REACH = 8.0  # largest change of g in one step, in units of epsilon
HALVINGS = 6


def _evaluate(cost, a, b, epsilon, g):
    """The dual at g [m] and what Newton reads there."""
    z = (g[None, :] - cost) / epsilon + jnp.log(b)[None, :]
    top = jnp.max(z, axis=1)
    rows = jnp.exp(z - top[:, None])
    total = jnp.sum(rows, axis=1)
    f = -epsilon * (top + jnp.log(total))
    rows = rows / total[:, None]
    c = a @ rows
    return {
        "g": g,
        "f": f,
        "rows": rows,
        "c": c,
        "value": a @ f + b @ g,
        "error": jnp.sum(jnp.abs(b - c)),
    }


def _sparse_product(rows, a, threshold, size):
    """w -> Rᵀ diag(a) R w from the entries of R at least `threshold`, at most `size` of them."""
    n, m = rows.shape
    # A slot beyond the last entry points outside, and adds nothing.
    i, j = jnp.nonzero(rows >= threshold, size=size, fill_value=(n, m))
    kept = rows.at[i, j].get(mode="fill", fill_value=0)
    there = lambda w: kept * w.at[j].get(mode="fill", fill_value=0)
    add = lambda x, k, length: jnp.zeros((length,), x.dtype).at[k].add(x, mode="drop")

    def product(w):
        y = a * add(there(w), i, n)
        return add(kept * y.at[i].get(mode="fill", fill_value=0), j, m)

    return product


def _direction(s, a, b, retained, keep):
    """Newton's direction over epsilon, [m]; products used; whether the Hessian was sparsified."""
    rows, c, error = s["rows"], s["c"], s["error"]
    n, m = rows.shape
    eps = jnp.finfo(rows.dtype).eps
    weight = jnp.where(b > 0, c, 1)
    diagonal = jnp.maximum(weight - a @ rows**2, 50 * eps * weight)
    tolerance = jnp.clip(0.5 * jnp.sqrt(error), 1e-4, 0.1)

    def solve(product):
        matvec = lambda w: weight * w - product(w)
        return conjugate_gradients(matvec, b - c, 1 / diagonal, tolerance, PRODUCTS)

    dense = lambda _: solve(lambda w: (a * (rows @ w)) @ rows)
    if keep is None:
        return *dense(None), 0
    # Entries below (1 - retained) / m weigh less than 1 - retained of their row together.
    threshold, size = (1 - retained) / m, min(keep, m) * n
    fits = jnp.sum(rows >= threshold) <= size
    sparse = lambda _: solve(_sparse_product(rows, a, threshold, size))
    return *jax.lax.cond(fits, sparse, dense, None), fits.astype(jnp.int32)


def _step(s, cost, a, b, retained, keep):
    """One Newton step with a line search on the dual, or a Sinkhorn iteration where that fails."""
    x, products, sparse = _direction(s, a, b, retained, keep)
    x = x - b @ x
    now, slope = s["now"], s["now"] * ((b - s["c"]) @ x)
    eps = jnp.finfo(x.dtype).eps

    def searching(t):
        _, _, accepted, k = t
        return ~accepted & (k < HALVINGS)

    def search(t):
        length, _, _, k = t
        new = _evaluate(cost, a, b, now, s["g"] + length * now * x)
        rise = new["value"] - s["value"]
        # Near the maximum the dual's change drowns in rounding; the marginal error does not.
        level = rise >= -100 * eps * jnp.abs(s["value"])
        accepted = (rise >= 1e-4 * length * slope) | (level & (new["error"] < 0.9 * s["error"]))
        return jnp.where(accepted, length, 0.4 * length), new, accepted, k + 1

    reach = jnp.minimum(1, REACH / jnp.maximum(jnp.max(jnp.abs(x)), eps))
    here = {name: s[name] for name in ("g", "f", "rows", "c", "value", "error")}
    start = (reach, here, jnp.array(False), 0)
    _, new, accepted, _ = jax.lax.while_loop(searching, search, start)
    replace = lambda _: _evaluate(cost, a, b, now, g_of_f(cost, a, now, s["f"]))
    new = jax.lax.cond(accepted, lambda _: new, replace, None)
    failed = (~accepted).astype(jnp.int32)
    counts = {"newton": 1 - failed, "failed": failed, "cg": products, "sparse": sparse}
    return {**s, **new, **{name: s[name] + by for name, by in counts.items()}}


def _follow(cost, epsilon, a, b, g, first, tolerance, limit, options):
    """Newton from g at epsilon = first down to `epsilon`; the last state."""
    decay, retained, keep = options

    def more(s):
        unsolved = (s["error"] > tolerance) | (s["now"] > epsilon)
        return unsolved & (s["newton"] + s["failed"] < limit) & (s["failed"] < limit // 4 + 1)

    def cool(s):
        now = jnp.maximum(epsilon, s["now"] * decay)
        return {**s, **_evaluate(cost, a, b, now, s["g"]), "now": now}

    def body(s):
        ahead = (s["now"] > epsilon) & (s["error"] < jnp.maximum(LOOSE, tolerance))
        return jax.lax.cond(ahead, cool, lambda s: _step(s, cost, a, b, retained, keep), s)

    zero = jnp.zeros((), jnp.int32)
    counts = dict.fromkeys(("newton", "failed", "cg", "sparse"), zero)
    return jax.lax.while_loop(
        more, body, {**_evaluate(cost, a, b, first, g), **counts, "now": first}
    )


def newton(
    cost: Array,
    a: Array | None = None,
    b: Array | None = None,
    *,
    epsilon: float,
    tolerance: float | None = None,
    max_iterations: int = 10_000,
    max_newton: int = 100,
    decay: float = 0.25,
    initial: Array | None = None,
    keep: int | None = None,
    retained: float = 1 - 1e-4,
):
    """The entropic transport plan between weights a and b, a Coupling, by Newton on the dual.

    The answer and its derivatives are those of `sinkhorn`; where epsilon is small next to the cost
    it comes 3.7 to 11 times sooner (`python -m experiments.metrics --only sinkhorn_newton`). Fifty
    Sinkhorn iterations come first; where their rate promises the tolerance in 100 more, or where
    Newton fails, Sinkhorn finishes, and `info.fallback` says so.

    Args:
        cost: [n, m], finite.
        a: [n], at least 0, sum 1; None is uniform.
        b: [m], likewise.
        epsilon: regularisation, in units of the cost.
        tolerance: on the sum of |column sums - b|; None is the square root of the dtype's eps.
        max_iterations: Sinkhorn iterations at most, before and after Newton.
        max_newton: Newton steps at most, over all values of epsilon on the way.
        decay: epsilon falls to its value by this factor; 1 starts at epsilon.
        initial: g [m] to start from, in place of zeros.
        keep: room for so many entries a row, on average, of a sparsified Hessian; None keeps it
            dense. A step whose Hessian needs more room is solved with the dense one.
        retained: the share of every row's mass that a sparsified Hessian keeps at least.

    Raises ValueError as `sinkhorn` does, on keep < 1 and on retained outside (0, 1).
    Source: Tang et al. 2024, arXiv:2401.12253, algorithm 1.
    """
    problem = checked("newton", cost, epsilon, a, b, tolerance)
    falling("newton", decay, max_iterations, max_newton)
    if keep is not None and keep < 1:
        raise ValueError(f"newton: keep must be at least 1; got {keep}")
    if not isinstance(retained, jax.core.Tracer) and not 0 < retained < 1:
        raise ValueError(f"newton: retained must be in (0, 1); got {retained}")
    *held, tolerance = map(jax.lax.stop_gradient, problem)
    cost_, epsilon_, *_ = held
    g = first_guess("newton", initial, cost_)
    warm, error, rate, k = iterate(*held, g, tolerance, min(WARM + 1, max_iterations), block=WARM)
    ahead = jnp.log(tolerance / error) / jnp.log(rate)  # Sinkhorn iterations still to come
    slow = (error > tolerance) & ~((rate < 1) & (ahead < PATIENCE))
    first = jnp.where(error < LOOSE, epsilon_, start_of(cost_, epsilon_, decay))
    # A warm start from a far smaller epsilon than `first` would mislead it.
    begin = jnp.where((error < LOOSE) | (initial is not None), warm, g)
    fields = ("g", "error", "now", "newton", "failed", "cg", "sparse")

    def follow(_):
        s = _follow(*held, begin, first, tolerance, max_newton, (decay, retained, keep))
        return {name: s[name] for name in fields}

    zero = jnp.zeros((), jnp.int32)
    idle = {"g": warm, "error": error, "now": epsilon_}
    idle |= dict.fromkeys(fields[3:], zero)
    s = jax.lax.cond(slow, follow, lambda _: idle, None)
    solved = slow & (s["error"] <= tolerance) & (s["now"] <= epsilon_)
    rest = jnp.where(solved | (error <= tolerance), 0, max_iterations - k - s["failed"])
    g, _, _, more = iterate(*held, s["g"], tolerance, rest)
    info = Info(error, solved, k + s["failed"] + more, s["newton"], s["cg"], s["sparse"], ~solved)
    return coupling(*problem[:4], g, tolerance, info)
