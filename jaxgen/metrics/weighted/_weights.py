"""Weights of Bayesian quadrature for a simulator's points, and the distance that uses them.

A simulator pushes inputs u from a known law to points y = G(u). Where G is smooth, averages over
its law are integrals of smooth functions of u, and weighted sums find them at a better rate than
plain ones: w = K⁻¹ z with K the Gram matrix of a kernel on the inputs and z its averages.

Sources: Bharti et al. 2023, arXiv:2301.11674 (the estimator); Dubrule 1983, Cross validation of
kriging in a unique neighborhood (leaving one out in closed form).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.kernels import gram, row_means
from jaxgen.metrics._clouds import estimator_name, finite, flat
from jaxgen.metrics.weighted._embeddings import Embedding

Array = jax.Array


class Quadrature(NamedTuple):
    """Weights for given inputs, and how far their sums are off at worst. Source: definition."""

    weights: Array  # [m]
    error: Array  # [], largest error over functions of unit norm in the kernel's space
    plain_error: Array  # [], the same of the plain average of these points


def _inputs(where, us, jitter):
    us = jnp.asarray(us)
    if us.ndim != 2 or us.shape[0] < 1 or not jnp.issubdtype(us.dtype, jnp.floating):
        raise ValueError(f"{where}: us must be floating [m, d], m >= 1; got {us.dtype} {us.shape}")
    finite(where, "us", us)
    if jitter is None:
        return us, 10 * us.shape[0] * jnp.finfo(us.dtype).eps
    if not isinstance(jitter, jax.core.Tracer) and not jitter > 0:
        raise ValueError(f"{where}: jitter must be positive; got {jitter}")
    return us, jitter


def _factor(embedding, us, jitter):
    k = gram(embedding.kernel, us, us)
    return k, jnp.linalg.cholesky(
        k + jnp.asarray(jitter, k.dtype) * jnp.eye(len(us), dtype=k.dtype)
    )


def weights(
    embedding: Embedding, us: Array, *, exact_constants: bool = True, jitter: float | None = None
) -> Quadrature:
    """The optimal weights [m] of the inputs us [m, d], a Quadrature.

    They do not depend on the simulator's parameters: compute them once, differentiate through the
    points. With few points for the kernel's bandwidth they can be worse than plain averages, and
    `explained` says so from the simulated points.

    Args:
        embedding: `rbf` or `matern`, with the inputs' law as its base.
        us: [m, d], drawn from that law, at random or evenly (`math.quasi_uniform`).
        exact_constants: weights that sum to 1 (an unknown constant is part of the model).
        jitter: added to the diagonal of the Gram matrix, whose diagonal is 1; None is 10 m eps.
            Equal inputs then share their weight.

    Raises ValueError on a wrong shape, inputs that are not finite, or a jitter not above 0.
    Source: Bharti et al. 2023, equation 5. Deviation: exact_constants (False is the paper's), which
    helps in several dimensions, where weights would shrink towards 0.
    """
    us, jitter = _inputs("weighted.weights", us, jitter)
    k, factor = _factor(embedding, us, jitter)
    solve = lambda b: jax.scipy.linalg.cho_solve((factor, True), b)
    z = jax.vmap(embedding.mean)(us)
    w = solve(z)
    if exact_constants:
        ones = solve(jnp.ones_like(z))
        w = w + ones * (1 - jnp.sum(w)) / jnp.sum(ones)
    plain = jnp.full_like(z, 1 / len(us))
    worst = lambda v: jnp.sqrt(jnp.maximum(embedding.energy(us[0]) - 2 * v @ z + v @ k @ v, 0))
    return Quadrature(w, worst(w), worst(plain))


def explained(
    embedding: Embedding,
    us: Array,
    ys: Array,
    kernel: Callable[[Array, Array], Array],
    *,
    exact_constants: bool = True,
    jitter: float | None = None,
) -> Array:
    """How much better the inputs' kernel predicts a left-out point than the plain mean does, [].

    1 minus a ratio of squared errors, over the functions u -> k(G(u), y_j): 1 is a smooth simulator
    well covered by its points. Below about 0.95 (too few points, a bandwidth that does not fit, a
    rough simulator) the weights were worse than plain averages in an eighth or more of the runs of
    `experiments.metrics`, and by far where the bandwidth is short: use plain averages, more or
    more even points then. At 0 or less they have nothing to offer.

    Args:
        embedding: as given to `weights`.
        us: [m, d], m >= 3, the inputs.
        ys: [m, *event], the simulated points.
        kernel: (y [*event], y' [*event]) -> [], that of the distance.
        exact_constants: as given to `weights`.
        jitter: as given to `weights`.

    Raises ValueError on unequal numbers of points, fewer than 3, or values that are not finite.
    Where all functions are constant the answer is 1.
    Source: derived from Dubrule 1983.
    """
    us, jitter = _inputs("weighted.explained", us, jitter)
    ys = jnp.asarray(ys)
    m = len(us)
    if ys.ndim < 1 or ys.shape[0] != m or m < 3:
        raise ValueError(
            f"weighted.explained: us and ys must hold one number m >= 3 of points; "
            f"got {us.shape} and {ys.shape}"
        )
    finite("weighted.explained", "ys", ys)
    _, factor = _factor(embedding, us, jitter)
    inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(m, dtype=factor.dtype))
    if exact_constants:
        ones = jnp.sum(inverse, axis=1)
        inverse = inverse - ones[:, None] * ones[None, :] / jnp.sum(ones)
    values = gram(kernel, ys, ys)
    left_out = jnp.sum((inverse @ values / jnp.diag(inverse)[:, None]) ** 2)
    plain = jnp.sum(((values - jnp.mean(values, axis=0)[None]) * (m / (m - 1))) ** 2)
    constant = plain <= (100 * m * jnp.finfo(us.dtype).eps) ** 2 * jnp.sum(values**2)
    return jnp.where(constant, 1, 1 - left_out / jnp.where(constant, 1, plain))


def mmd2(
    xs: Array,
    ys: Array,
    weights: Array,
    kernel: Callable[[Array, Array], Array],
    *,
    estimator: str = "biased",
    chunk: int = 1024,
) -> Array:
    """The squared maximum mean discrepancy, [], of data and weighted points of a model.

    Args:
        xs: data, [n, *event], n >= 2, of equal weights.
        ys: points of the model, [m, *event].
        weights: [m], of any sign; with 1/m the biased `metrics.mmd2`.
        kernel: (x [*event], y [*event]) -> [].
        estimator: "biased" keeps the pairs of a data point with itself: never negative; "unbiased"
            leaves them out.
        chunk: rows of the data's Gram matrix made at a time.

    Raises ValueError on a wrong name, shapes that do not fit, too few points or weights that are
    not finite.
    Source: Bharti et al. 2023, arXiv:2301.11674, equation 4.
    """
    estimator_name("weighted.mmd2", estimator)
    event = jnp.shape(xs)[1:]
    xs, ys = flat("weighted.mmd2", xs, ys)
    weights = jnp.asarray(weights, xs.dtype)
    if weights.shape != ys.shape[:1] or xs.shape[0] < 2:
        raise ValueError(
            f"weighted.mmd2: weights must be [m] with ys [m, *event], and xs at least 2 points; "
            f"got {weights.shape}, {ys.shape} and {xs.shape}"
        )
    finite("weighted.mmd2", "weights", weights)
    pair = lambda x, y: kernel(x.reshape(event), y.reshape(event))
    inside = row_means(pair, xs, xs, chunk=chunk)
    if estimator == "unbiased":
        n = xs.shape[0]
        inside = (n * inside - jax.vmap(lambda x: pair(x, x))(xs)) / (n - 1)
    cross = weights @ row_means(pair, ys, xs, chunk=chunk)
    return jnp.mean(inside) - 2 * cross + weights @ gram(pair, ys, ys) @ weights
