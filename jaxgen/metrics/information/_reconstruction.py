"""The entropy-and-reconstruction bound: I(x; y) >= h(y) + E log q(y | x) for every law q.

Equal when q is the true conditional. Between two views of an image y is the other view's
representation, and q a Gaussian or, on the sphere, a von Mises-Fisher law around a prediction.

Source: Rodríguez-Gálvez et al. 2023, arXiv:2307.10907, section 3.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import log_iv_normalised
from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._kde import kde_bandwidth, kde_left_out
from jaxgen.metrics.information._neighbour_entropy import entropy_terms
from jaxgen.metrics.information._points import (
    each_row,
    finite,
    mean_of,
    neighbours,
    points,
    positive,
)

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


def _log_vmf(cosine, d, concentration):
    """log q [...] on the unit sphere in d dimensions, with respect to area."""
    area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    log_mean = log_iv_normalised(d / 2 - 1, jnp.asarray(concentration, cosine.dtype))
    return concentration * (cosine - 1) - log_mean - area


def _on_sphere(where, ys):
    if ys.shape[1] < 2:
        raise ValueError(f"{where}: the sphere must lie in 2 dimensions or more; got {ys.shape}")
    if not isinstance(ys, jax.core.Tracer):
        known = np.asarray(ys, float)
        worst = float(np.max(np.abs(np.linalg.norm(known, axis=1) - 1)))
        if worst > 1e-3:
            raise ValueError(f"{where}: ys must have norm 1; got a norm off by {worst}")


def vmf_reconstruction(ys: Array, means: Array, concentration: float) -> Array:
    """log q in nats, [n], of every y on the sphere under a von Mises-Fisher law around its mean.

    With respect to area; concentration 0 is the uniform law.

    Args:
        ys: [n, *event], of norm 1.
        means: [n, *event], predicted from x, normalised here; not zero.
        concentration: [], at least 0.

    Raises ValueError on unequal shapes, ys off the sphere or a concentration below 0.
    Source: Mardia and Jupp 2000, equation 9.3.4; Rodríguez-Gálvez et al. 2023, arXiv:2307.10907,
    section 3.
    """
    ys, means = _alike("vmf_reconstruction", ys, means)
    _on_sphere("vmf_reconstruction", ys)
    if not isinstance(concentration, jax.core.Tracer) and not 0 <= concentration < math.inf:
        raise ValueError(f"vmf_reconstruction: concentration must be >= 0; got {concentration}")
    cosine = jnp.sum(ys * means, axis=1) / jnp.linalg.norm(means, axis=1)
    return _log_vmf(cosine, ys.shape[1], concentration)


def vmf_left_out(ys: Array, concentration: float, *, chunk: int = 256) -> Array:
    """The log-density in nats, [n], at every point on the sphere from von Mises-Fisher kernels.

    Kernels stand on all the other points; the density is with respect to area.

    Args:
        ys: [n, *event], of norm 1, n >= 2.
        concentration: [], positive: the inverse square of a bandwidth.
        chunk: points treated at a time.

    Raises ValueError on fewer than two points, points off the sphere or concentration <= 0.
    Source: Rodríguez-Gálvez et al. 2023, arXiv:2307.10907, section 3.
    """
    ys = points("vmf_left_out", "ys", ys)
    _on_sphere("vmf_left_out", ys)
    positive("vmf_left_out", "concentration", concentration)
    n, d = ys.shape

    def each(i, y):
        log_kernel = _log_vmf(jnp.matmul(ys, y, precision="highest"), d, concentration)
        return jax.nn.logsumexp(jnp.where(jnp.arange(n) == i, -jnp.inf, log_kernel))

    return each_row(each, ys, chunk) - math.log(n - 1)


def entropy_reconstruction(
    ys: Array,
    log_q: Array,
    *,
    bandwidth: float | None = None,
    k: int | None = None,
    log_density: Array | None = None,
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
        log_density: None, or take the entropy from these log-densities [n] at ys, such as
            `vmf_left_out` of points on a sphere.
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
    if log_density is not None:
        if jnp.shape(log_density) != ys.shape[:1]:
            raise ValueError(
                f"entropy_reconstruction: log_density must be [{ys.shape[0]}]; "
                f"got shape {jnp.shape(log_density)}"
            )
        return mean_of(log_q - log_density)
    if k is not None:
        neighbours("entropy_reconstruction", k, ys.shape[0])
        return mean_of(entropy_terms(ys, k, "euclidean", False, chunk) + log_q)
    h = kde_bandwidth(ys, chunk=chunk) if bandwidth is None else bandwidth
    return mean_of(log_q - kde_left_out(ys, h, chunk=chunk))
