"""What every transport problem shares: its weights, its answer, and the derivatives of that answer.

Entropic transport of weights a [n] to b [m] at cost C [n, m] is

    OT(a, b) = min over plans P of <P, C> + epsilon KL(P | a bᵀ)
             = max over f, g of <a, f> + <b, g> - epsilon (sum_ij a_i b_j E_ij - 1),
    E_ij = exp((f_i + g_j - C_ij) / epsilon),   P_ij = a_i b_j E_ij.

The reference a bᵀ makes potentials finite where a weight is 0: there they are what a first grain of
mass would be charged. Potentials have one free constant, fixed by <a, f> = <b, g>.

Derivatives never run through an iteration. The value's are those of the maximum with potentials
held (the envelope theorem); the potentials' solve the linearised optimality conditions.

Sources: Peyré and Cuturi 2019, arXiv:1803.00567, sections 4.1 to 4.6; Cuturi et al. 2022,
arXiv:2002.03229 (derivatives through the optimality conditions).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxgen.metrics._clouds import finite

Array = jax.Array


class Info(NamedTuple):
    """How a transport problem was solved. Source: definition."""

    error: Array  # [], sum of |column sums of the plan - b|; its row sums are a to rounding
    converged: Array  # [] bool, error <= tolerance
    iterations: Array  # [] int, Sinkhorn iterations (both potentials)
    newton: Array  # [] int, Newton steps
    cg: Array  # [] int, products with the Hessian inside them
    sparse: Array  # [] int, Newton steps whose Hessian was sparsified
    fallback: Array  # [] bool, Newton was not used or not enough: Sinkhorn finished


class Coupling(NamedTuple):
    """A solved transport problem. Source: Peyré and Cuturi 2019, section 4.1."""

    f: Array  # [n], potential of the first weights, in units of the cost
    g: Array  # [m], of the second
    plan: Array  # [n, m], row sums a exactly, column sums b up to info.error
    cost: Array  # [], <plan, cost>
    value: Array  # [], cost + epsilon KL(plan | a bᵀ); a lower bound where not converged
    info: Info


def weights(where, name, w, size, dtype):
    """Weights [size] that sum to 1 exactly; uniform when None. Raises ValueError on bad ones."""
    if w is None:
        return jnp.full((size,), 1 / size, dtype)
    w = jnp.asarray(w)
    if w.shape != (size,) or not jnp.issubdtype(w.dtype, jnp.floating):
        raise ValueError(f"{where}: {name} must be floating [{size}]; got {w.dtype} {w.shape}")
    finite(where, name, w)
    if not isinstance(w, jax.core.Tracer):
        host = np.asarray(w)  # jax.numpy would be traced inside jit
        least, total = float(host.min()), float(host.sum())
        if least < 0:
            raise ValueError(f"{where}: {name} must be at least 0; got {least}")
        slack = 10 * size**0.5 * float(jnp.finfo(w.dtype).eps) ** 0.75
        if abs(total - 1) > slack:
            raise ValueError(f"{where}: {name} must sum to 1; got {total}")
    w = w.astype(dtype)
    return w / jnp.sum(w)


def positive(where, name, x):
    """Nothing; raises ValueError unless a concrete x [] is positive and finite."""
    if jnp.ndim(x) != 0:
        raise ValueError(f"{where}: {name} must be []; got shape {jnp.shape(x)}")
    if not isinstance(x, jax.core.Tracer) and not 0 < x < float("inf"):
        raise ValueError(f"{where}: {name} must be positive and finite; got {x}")


def checked(where, cost, epsilon, a, b, tolerance):
    """cost [n, m], epsilon [], a [n], b [m], tolerance [] of one dtype, or ValueError."""
    cost = jnp.asarray(cost)
    if cost.ndim != 2 or cost.size == 0 or not jnp.issubdtype(cost.dtype, jnp.floating):
        raise ValueError(
            f"{where}: cost must be floating [n, m], n and m >= 1; got {cost.dtype} {cost.shape}"
        )
    finite(where, "cost", cost)
    positive(where, "epsilon", epsilon)
    dtype = cost.dtype
    if tolerance is None:
        tolerance = float(jnp.finfo(dtype).eps) ** 0.5
    positive(where, "tolerance", tolerance)
    a = weights(where, "a", a, cost.shape[0], dtype)
    b = weights(where, "b", b, cost.shape[1], dtype)
    return cost, jnp.asarray(epsilon, dtype), a, b, jnp.asarray(tolerance, dtype)


def f_of_g(cost, b, epsilon, g):
    """f [n] at which the plan's row sums are a, given g [m]."""
    return -epsilon * logsumexp((g[None, :] - cost) / epsilon + jnp.log(b)[None, :], axis=1)


def g_of_f(cost, a, epsilon, f):
    """g [m] at which the plan's column sums are b, given f [n]."""
    return -epsilon * logsumexp((f[:, None] - cost) / epsilon + jnp.log(a)[:, None], axis=0)


def start_of(cost, epsilon, decay):
    """The first epsilon of a falling sequence, []: a fiftieth of the cost's range."""
    if decay == 1:
        return epsilon
    return jnp.maximum(epsilon, (jnp.max(cost) - jnp.min(cost)) / 50)


def _gauge(a, b, f, g):
    shift = (b @ g - a @ f) / 2
    return f + shift, g - shift


def _ratio(cost, epsilon, f, g):
    return jnp.exp((f[:, None] + g[None, :] - cost) / epsilon)


@jax.custom_jvp
def _potentials(cost, epsilon, a, b, f, g):
    """(f, g) as functions of the problem: f and g come solved, and only mark the solution."""
    return f, g


def conjugate_gradients(matvec, rhs, inverse_diagonal, tolerance, limit):
    """x [m] with matvec(x) = rhs for a semidefinite matvec, and the number of products used.

    Stops at `tolerance` (relative, in the preconditioner's norm), at `limit` products, or where the
    curvature along the direction is not positive.
    """
    z = inverse_diagonal * rhs
    first = rhs @ z

    def more(s):
        _, _, _, rz, k, sound = s
        return (rz > tolerance**2 * first) & (k < limit) & sound

    def body(s):
        x, r, p, rz, k, _ = s
        image = matvec(p)
        curvature = p @ image
        sound = curvature > 0
        length = jnp.where(sound, rz / jnp.where(sound, curvature, 1), 0)
        x, r = x + length * p, r - length * image
        z = inverse_diagonal * r
        rz_next = r @ z
        return x, r, z + rz_next / rz * p, rz_next, k + 1, sound

    state = (jnp.zeros_like(rhs), rhs, z, first, 0, jnp.array(True))
    x, *_, used, _ = jax.lax.while_loop(more, body, state)
    return x, used


def _solve(rows, a, b, rhs):
    """dg [m] with (diag(c) - Rᵀ diag(a) R) dg = rhs for rows = R [n, m], c = a R.

    The constant is the null direction; adding b bᵀ lifts it. A column without weight is left at 0.
    """
    c = jnp.where(b > 0, a @ rows, 1)
    matvec = lambda w: c * w - (a * (rows @ w)) @ rows + b * (b @ w)
    eps = jnp.finfo(rhs.dtype).eps
    diagonal = c - a @ rows**2 + b**2
    inverse = 1 / jnp.maximum(diagonal, eps * c)
    solve = lambda matvec, rhs: conjugate_gradients(matvec, rhs, inverse, eps**0.8, 2000)[0]
    return jax.lax.custom_linear_solve(matvec, rhs, solve, symmetric=True)


@_potentials.defjvp
def _potentials_jvp(primals, tangents):
    cost, epsilon, a, b, *_ = primals
    d_cost, d_epsilon, d_a, d_b, *_ = tangents
    f, g = _potentials(*primals)
    ratio = _ratio(cost, epsilon, f, g)
    rows, columns = ratio * b[None, :], ratio * a[:, None]  # each row, each column sums to 1
    slack = (f[:, None] + g[None, :] - cost) / epsilon
    change = d_cost + d_epsilon * slack
    of_rows = jnp.sum(rows * change, axis=1) - epsilon * (ratio @ d_b)  # df + R dg
    of_columns = jnp.sum(columns * change, axis=0) - epsilon * (d_a @ ratio)  # dg + Sᵀ df
    d_g = _solve(rows, a, b, b * of_columns - (a * of_rows) @ rows)
    d_f = of_rows - rows @ d_g
    d_g = of_columns - d_f @ columns
    shift = (d_b @ g + b @ d_g - d_a @ f - a @ d_f) / 2
    return (f, g), (d_f + shift, d_g - shift)


@jax.custom_jvp
def _value(cost, epsilon, a, b, f, g):
    mass = jnp.sum(a[:, None] * b[None, :] * _ratio(cost, epsilon, f, g))
    return a @ f + b @ g - epsilon * (mass - 1)


@_value.defjvp
def _value_jvp(primals, tangents):
    cost, epsilon, a, b, f, g = primals
    d_cost, d_epsilon, d_a, d_b, *_ = tangents
    ratio = _ratio(cost, epsilon, f, g)
    plan = a[:, None] * b[None, :] * ratio
    # The plan's mass is 1, so the KL is the mean of log ratio: the derivative in epsilon.
    log_ratio = (f[:, None] + g[None, :] - cost) / epsilon
    slope_a = f - epsilon * (ratio @ b - 1)
    slope_b = g - epsilon * (a @ ratio - 1)
    change = jnp.vdot(plan, d_cost) + d_epsilon * jnp.vdot(plan, log_ratio)
    return _value(*primals), change + slope_a @ d_a + slope_b @ d_b


def coupling(cost, epsilon, a, b, g, tolerance, info):
    """The Coupling that potentials g [m] stand for, with derivatives; info: its counts."""
    still = jax.lax.stop_gradient
    held = tuple(map(still, (cost, epsilon, a, b)))
    f = f_of_g(held[0], held[3], held[1], still(g))
    # A column without weight has no say in f; its own potential is read off.
    g = jnp.where(held[3] > 0, still(g), g_of_f(held[0], held[2], held[1], f))
    f, g = _potentials(cost, epsilon, a, b, *_gauge(held[2], held[3], f, g))
    plan = a[:, None] * b[None, :] * _ratio(cost, epsilon, f, g)
    error = still(jnp.sum(jnp.abs(jnp.sum(plan, axis=0) - b)))
    info = info._replace(error=error, converged=error <= tolerance)
    return Coupling(f, g, plan, jnp.vdot(plan, cost), _value(cost, epsilon, a, b, f, g), info)
