"""The debiased Sinkhorn divergence of two samples, and the closed form between Gaussians.

    S(p, q) = OT(p, q) - ½ OT(p, p) - ½ OT(q, q)

is 0 at equal laws, where OT itself is not, and never negative for costs |x - y|^p, 0 < p <= 2.

Sources: Feydy et al. 2019, arXiv:1810.08278, equation 3 and theorem 1; Janati et al. 2020,
arXiv:2006.02572, theorem 1 (Gaussians).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._clouds import finite
from jaxgen.metrics.transport._costs import cost_matrix, squared_euclidean
from jaxgen.metrics.transport._newton import newton
from jaxgen.metrics.transport._problem import positive

Array = jax.Array


def sinkhorn_divergence(
    xs: Array,
    ys: Array,
    *,
    epsilon: float,
    cost: Callable[[Array, Array], Array] = squared_euclidean,
    a: Array | None = None,
    b: Array | None = None,
    solver: Callable = newton,
    **options,
) -> Array:
    """The debiased divergence S of two weighted samples, [], in units of the cost.

    Its gradient takes three products with plans (the envelope theorem), no iteration backwards.

    Args:
        xs: [n, *event].
        ys: [m, *event].
        epsilon: regularisation, in units of the cost: towards 0 the transport cost, towards
            infinity an energy distance (a squared difference of means for the squared cost).
        cost: (x [*event], y [*event]) -> [], symmetric.
        a: weights of xs [n], sum 1; None is uniform.
        b: weights of ys [m], likewise.
        solver: `newton` or `sinkhorn`; takes the options.
        **options: of the solver (tolerance, max_iterations, ...).

    Raises ValueError on unequal event shapes, bad weights and numbers, as the solver does.
    Source: Feydy et al. 2019, arXiv:1810.08278, equation 3.
    """
    value = lambda u, v, of_u, of_v: (
        solver(cost_matrix(u, v, cost), of_u, of_v, epsilon=epsilon, **options).value
    )
    cross = value(xs, ys, a, b)
    return cross - (value(xs, xs, a, a) + value(ys, ys, b, b)) / 2


def gaussian_entropic(
    mean_x: Array, cov_x: Array, mean_y: Array, cov_y: Array, *, epsilon: float
) -> Array:
    """OT between two Gaussians at squared Euclidean cost, [], in squared units of x.

    The value of `Coupling.value`: the cost plus epsilon times the KL to the product. Towards
    epsilon = 0 it is `metrics.gaussian_distance`.

    Args:
        mean_x: the first mean, [d].
        cov_x: the first covariance, [d, d], positive definite.
        mean_y: the second mean, [d].
        cov_y: the second covariance, [d, d], symmetric, eigenvalues >= 0.
        epsilon: regularisation.

    Raises ValueError where shapes disagree, values are not finite, or cov_x is not positive
    definite.
    Source: Janati et al. 2020, arXiv:2006.02572, theorem 1, with epsilon = 2 sigma².
    """
    where = "gaussian_entropic"
    positive(where, "epsilon", epsilon)
    mean_x, cov_x, mean_y, cov_y = map(jnp.asarray, (mean_x, cov_x, mean_y, cov_y))
    d = mean_x.shape[0] if mean_x.ndim == 1 else -1
    if d < 1 or mean_y.shape != (d,) or cov_x.shape != (d, d) or cov_y.shape != (d, d):
        shapes = [x.shape for x in (mean_x, cov_x, mean_y, cov_y)]
        raise ValueError(f"{where}: means must be [d] and covariances [d, d]; got {shapes}")
    for name, x in (("mean_x", mean_x), ("cov_x", cov_x), ("mean_y", mean_y), ("cov_y", cov_y)):
        finite(where, name, x)
    lower = jnp.linalg.cholesky(cov_x)
    if not isinstance(lower, jax.core.Tracer) and not np.all(np.isfinite(np.asarray(lower))):
        raise ValueError(f"{where}: cov_x must be positive definite; got {cov_x}")
    cross = jnp.maximum(jnp.linalg.eigvalsh(lower.T @ cov_y @ lower), 0)  # of A^½ B A^½
    half = jnp.asarray(epsilon, cross.dtype) / 2  # sigma² of the paper
    # d half (1 - log 2 half) + half sum log(root + half), with the logarithms joined.
    root = jnp.sqrt(4 * cross + half**2)
    spread = jnp.trace(cov_x) + jnp.trace(cov_y) - jnp.sum(root)
    entropy = half * jnp.sum(1 + jnp.log((root + half) / (2 * half)))
    return jnp.sum((mean_x - mean_y) ** 2) + spread + entropy
