"""The entropy-and-reconstruction bound: I(x; y) >= h(y) + E log q(y | x) for every law q.

Equal when q is the true conditional. Between two views of an image y is the other view's
representation, and q a Gaussian or, on the sphere, a von Mises-Fisher law around a prediction.

Source: Rodríguez-Gálvez et al. 2023, arXiv:2307.10907, section 3.
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._kde import kde_bandwidth, kde_left_out
from jaxgen.metrics.information._neighbour_entropy import entropy_terms
from jaxgen.metrics.information._points import finite, mean_of, neighbours, points, positive

Array = jax.Array


def _alike(where, ys, means):
    ys, means = points(where, "ys", ys, least=1), points(where, "means", means, least=1)
    if ys.shape != means.shape:
        raise ValueError(
            f"{where}: ys and means must have one shape; got {ys.shape}, {means.shape}"
        )
    dtype = jnp.result_type(ys, means)
    return ys.astype(dtype), means.astype(dtype)


def gaussian_reconstruction(ys: Array, means: Array, scale: float) -> Array:
    """log q in nats, [n], of every y under N(its mean, scale² I).

    Args:
        ys: [n, *event].
        means: [n, *event], predicted from x.
        scale: [], the standard deviation.

    Raises ValueError on unequal shapes or a scale that is not positive.
    Source: Rodríguez-Gálvez et al. 2023, arXiv:2307.10907, section 3.
    """
    ys, means = _alike("gaussian_reconstruction", ys, means)
    positive("gaussian_reconstruction", "scale", scale)
    squares = jnp.sum((ys - means) ** 2, axis=1) / scale**2
    return -squares / 2 - ys.shape[1] * (jnp.log(2 * jnp.pi) / 2 + jnp.log(scale)).astype(ys.dtype)


def entropy_reconstruction(
    ys: Array,
    log_q: Array,
    *,
    bandwidth: float | None = None,
    k: int | None = None,
    chunk: int = 256,
) -> Estimate:
    """The entropy-and-reconstruction bound on I(x; y) in nats, an Estimate of two [].

    h(y) + mean log q(y_i | x_i). Differentiable in both. The entropy by left-out kernels is too
    large on average, and the bound with it; by neighbours it is off by less.

    Args:
        ys: [n, *event].
        log_q: [n], log q(y_i | x_i) for any normalised law q.
        bandwidth: [] of the kernel density, or None for the most likely one.
        k: None, or take the entropy from the k-th neighbours instead.
        chunk: points treated at a time.

    Raises ValueError on fewer than two points, log_q of another length, or k out of range.
    Source: Rodríguez-Gálvez et al. 2023, arXiv:2307.10907, section 3.
    """
    ys = points("entropy_reconstruction", "ys", ys)
    log_q = jnp.asarray(log_q)
    if log_q.shape != ys.shape[:1]:
        raise ValueError(
            f"entropy_reconstruction: log_q must be [{ys.shape[0]}]; got shape {log_q.shape}"
        )
    finite("entropy_reconstruction", "log_q", log_q)
    if k is not None:
        neighbours("entropy_reconstruction", k, ys.shape[0])
        return mean_of(entropy_terms(ys, k, "euclidean", False, chunk) + log_q)
    h = kde_bandwidth(ys, chunk=chunk) if bandwidth is None else bandwidth
    return mean_of(log_q - kde_left_out(ys, h, chunk=chunk))
