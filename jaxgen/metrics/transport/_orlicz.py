"""The Orlicz-Wasserstein distance: transport judged by a convex function that may grow very fast.

    W_phi(p, q) = inf {k > 0 : min over plans P of <P, phi(d / k)> <= 1}

phi(x) = x^p is W_p; phi(x) = exp(x²) - 1 forbids far journeys of even tiny mass.

Source: Guha et al. 2023, arXiv:2301.11496, definition 1. The minimum falls with k, so k is found
by bisection over transport problems.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.metrics.transport._costs import cost_matrix, euclidean
from jaxgen.metrics.transport._newton import newton
from jaxgen.metrics.transport._problem import positive, weights

Array = jax.Array

BISECTIONS = 40


def _unit(phi, dtype):
    """phi⁻¹(1), [], by bisection of the exponent of 2 from -64 to 64."""

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        inside = phi(2**middle) <= 1
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    start = jnp.asarray(-64, dtype), jnp.asarray(64, dtype)
    return 2 ** jax.lax.fori_loop(0, 70, halve, start)[0]


def orlicz_wasserstein(
    xs: Array,
    ys: Array,
    phi: Callable[[Array], Array],
    *,
    epsilon: float = 1e-3,
    cost: Callable[[Array, Array], Array] = euclidean,
    a: Array | None = None,
    b: Array | None = None,
    assignment: Callable[[Array], tuple[Array, Array]] | None = None,
    solver: Callable = newton,
    **options,
) -> Array:
    """W_phi of two weighted samples, [], in units of the cost.

    At the answer the transported cost is 1, so epsilon is relative: the plan's cost exceeds the
    optimum by at most epsilon log(n m), which raises the answer a little. The gradient in xs and ys
    holds the plan (the envelope theorem); weights have none. 0 where all points coincide.

    Args:
        xs: [n, *event].
        ys: [m, *event].
        phi: elementwise, [...] -> [...], convex and increasing with phi(0) = 0.
        epsilon: regularisation of the inner problems.
        cost: (x [*event], y [*event]) -> [], a metric d.
        a: weights of xs [n], sum 1; None is uniform.
        b: weights of ys [m], likewise.
        assignment: for n = m and uniform weights, cost [n, n] -> (rows, columns), an exact solver
            such as `optax.assignment.hungarian_algorithm`, in place of the entropic one.
        solver: `newton` or `sinkhorn`.
        **options: of the solver.

    Raises ValueError on unequal event shapes, bad weights and numbers, phi(0) that is not 0 where
    concrete, and an assignment with weights or unequal sizes.
    Source: Guha et al. 2023, arXiv:2301.11496, definition 1.
    """
    where = "orlicz_wasserstein"
    positive(where, "epsilon", epsilon)
    distance = cost_matrix(xs, ys, cost)
    n, m = distance.shape
    if assignment is not None and (n != m or a is not None or b is not None):
        raise ValueError(f"{where}: an assignment needs n = m and no weights; got {n} and {m}")
    zero = phi(jnp.zeros((), distance.dtype))
    if not isinstance(zero, jax.core.Tracer) and abs(float(zero)) > 1e-6:
        raise ValueError(f"{where}: phi(0) must be 0; got {float(zero)}")
    a, b = weights(where, "a", a, n, distance.dtype), weights(where, "b", b, m, distance.dtype)
    held, a, b = map(jax.lax.stop_gradient, (distance, a, b))
    # A plan that moves the least positive mass of a corner plan over a capped cost pays above 1.
    cap = 1e3 * max(n, m)

    def plan_at(k):
        price = jnp.minimum(phi(held / k), cap)
        if assignment is not None:
            i, j = assignment(price)
            plan = jnp.zeros_like(price).at[i, j].set(1 / n)
        else:
            plan = solver(price, a, b, epsilon=epsilon, **options).plan
        return plan, jnp.vdot(plan, price)

    unit = _unit(phi, distance.dtype)
    high = jnp.max(held) / unit  # there every price is at most 1
    high = jnp.where(high > 0, high, 1)
    least = jnp.maximum(a @ jnp.min(held, axis=1), b @ jnp.min(held, axis=0))  # at most W_1
    low = jnp.maximum(least / unit, 1e-4 * high)

    def halve(_, bracket):
        low, high = bracket
        middle = jnp.sqrt(low * high)
        fits = plan_at(middle)[1] <= 1
        return jnp.where(fits, low, middle), jnp.where(fits, middle, high)

    k = jax.lax.fori_loop(0, BISECTIONS, halve, (low, high))[1]
    plan = jax.lax.stop_gradient(plan_at(k)[0])
    priced = lambda k, distance: jnp.vdot(plan, jnp.where(plan > 0, phi(distance / k), 0))
    # k moves so that the price stays 1; the value itself is not touched.
    slope = jax.lax.stop_gradient(jax.grad(priced)(k, held))
    move = -priced(k, distance) / jnp.where(slope < 0, slope, -1)
    k = k + (move - jax.lax.stop_gradient(move))
    return jnp.where(jnp.max(held) > 0, k, jnp.sum(0 * distance))
