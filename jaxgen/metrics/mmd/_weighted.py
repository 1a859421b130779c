"""The squared MMD between two weighted samples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels import quadratic, weighted_sums
from jaxgen.metrics._clouds import estimator_name, finite, points
from jaxgen.metrics._mmd import itself

Array = jax.Array


def _weights(name, weights, xs):
    if weights is None:
        return jnp.full(xs.shape[0], 1 / xs.shape[0], xs.dtype)
    weights = jnp.asarray(weights, xs.dtype)
    if weights.shape != xs.shape[:1]:
        raise ValueError(
            f"weighted: {name} must be one for each point, {xs.shape[:1]}; got {weights.shape}"
        )
    finite("weighted", name, weights)
    if not isinstance(weights, jax.core.Tracer) and float(jnp.sum(weights)) == 0:
        raise ValueError(f"weighted: {name} must not sum to 0; got {weights}")
    return weights / jnp.sum(weights)


def weighted(
    xs: Array,
    ys: Array,
    kernel: Callable[[Array, Array], Array],
    *,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    estimator: str = "biased",
    chunk: int = 512,
) -> Array:
    """The squared MMD, [], between two samples whose points carry weights.

    Weights are divided by their sum; they may be negative, as those of a quadrature.

    Args:
        xs: [n, *event], n >= 2.
        ys: [m, *event], m >= 2.
        kernel: (x [*event], y [*event]) -> [], symmetric.
        x_weights: [n]; None is equal ones.
        y_weights: [m]; None is equal ones.
        estimator: "biased" is the distance between the two weighted empirical laws; "unbiased"
            leaves out pairs of a point with itself, Σ_{i≠j} w_i w_j k / (1 - Σ w²), which is
            unbiased where the weights do not depend on the points.
        chunk: a tile of the Gram matrix is at most [chunk, chunk].

    Raises ValueError on a wrong name, unequal event shapes, too few points, or weights that are of
    another length, not finite, or of sum 0.
    Source: Gretton et al. 2012, equations 3 and 5, with weights.
    """
    estimator_name("weighted", estimator)
    xs, ys = points("weighted", xs, ys, least=2)
    w, v = _weights("x_weights", x_weights, xs), _weights("y_weights", y_weights, ys)

    def inside(a, u):
        form = quadratic(kernel, a, u, chunk=chunk)
        if estimator == "biased":
            return form
        return (form - jnp.vdot(u**2, itself(kernel, a))) / (1 - jnp.vdot(u, u))

    between = jnp.vdot(w, weighted_sums(kernel, xs, ys, v, chunk=chunk))
    return inside(xs, w) + inside(ys, v) - 2 * between
