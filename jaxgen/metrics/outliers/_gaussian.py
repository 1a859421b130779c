"""Outliers by distance: Gaussians of one covariance around every class.

With features x of class c ~ N(m_c, S), the squared Mahalanobis distance (x - m_c)ᵀ S⁻¹ (x - m_c) of
the true class is chi-squared with d degrees of freedom, and the classes' posterior is a softmax
with weights S⁻¹ m_c. One class is the plain multivariate normal.

S⁻¹ is held as a matrix W [r, d] with Wᵀ W = S⁻¹: whitening by r directions. r < d keeps some
principal directions: the ones of least variance (NPCA) or of most (PCA).

Sources: Lee, Lee, Lee and Shin 2018, arXiv:1807.03888; Rippel, Mertens and Merhof 2020,
arXiv:2005.14140; Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional
covariance matrices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.metrics._clouds import finite

Array = jax.Array


class TiedGaussian(NamedTuple):
    """Gaussians of one covariance, a pytree. Source: Lee et al. 2018, arXiv:1807.03888."""

    means: Array  # [k, d], of the classes
    whiten: Array  # [r, d], squared: the inverse covariance on the directions kept, rising variance
    variances: Array  # [r], of those directions
    log_weights: Array  # [k], of the classes


def _points(where, xs):
    xs = jnp.asarray(xs)
    if xs.ndim != 2 or xs.shape[0] < 2 or xs.shape[1] < 1:
        raise ValueError(f"{where}: xs must be [n, d] with n >= 2, d >= 1; got {xs.shape}")
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(f"{where}: xs must be of a floating dtype; got {xs.dtype}")
    finite(where, "xs", xs)
    return xs


def ledoit_wolf(xs: Array) -> tuple[Array, Array]:
    """The shrunk covariance [d, d] and the shrinkage [] in [0, 1] of points around their mean.

    (1 - s) C + s (tr C / d) I, where C has divisor n and s is the estimate that is best in squares
    as n and d grow. Points that are all equal give the zero matrix, to rounding.

    Args:
        xs: [n, d], n >= 2.

    Raises ValueError on a wrong shape or concrete non-finite values.
    Source: Ledoit and Wolf 2004, section 3.3.
    """
    xs = _points("ledoit_wolf", xs)
    n, d = xs.shape
    xs = xs - jnp.mean(xs, axis=0)[None]
    cov = xs.T @ xs / n
    level = jnp.trace(cov) / d
    square = jnp.sum(cov**2)
    away = square - d * level**2  # |C - level I|²
    noise = (jnp.sum(jnp.sum(xs**2, axis=1) ** 2) / n - square) / n  # of C, same units
    shrinkage = jnp.clip(noise / jnp.where(away > 0, away, 1), 0, 1)
    shrinkage = jnp.where(away > 0, shrinkage, 0)
    return (1 - shrinkage) * cov + shrinkage * level * jnp.eye(d, dtype=cov.dtype), shrinkage


def tied_gaussian(
    xs: Array,
    labels: Array | None = None,
    *,
    num_classes: int = 1,
    shrinkage: float | None = None,
    keep: int | None = None,
    end: str = "low",
) -> TiedGaussian:
    """The Gaussians of one covariance that fit features, a TiedGaussian of [k, d] means.

    Args:
        xs: features, [n, d], n >= 2.
        labels: classes 0 .. num_classes - 1, [n]; None puts all into class 0.
        num_classes: k. A class without points has mean 0 and weight 0.
        shrinkage: in [0, 1], towards tr S / d times the identity; None is that of Ledoit and Wolf.
            The covariance is of the points around their class's mean, with divisor n.
        keep: principal directions kept, 1 .. d; None keeps all.
        end: "low" keeps those of least variance (NPCA), "high" of most (PCA).

    Directions without any variance (below d eps of the largest, or at the rounding of the points)
    are legal: they are left out, and what lies along them does not count; shrinkage > 0 lets it
    count, unless all points are equal. The shrinkage of Ledoit and Wolf adds the same to every
    variance: with directions of very unlike spread it hides the smallest, on which "low" stands.

    Raises ValueError on wrong shapes or names, labels out of range or concrete non-finite values.
    Source: Lee et al. 2018, arXiv:1807.03888, equation 1; Rippel et al. 2020, arXiv:2005.14140.
    """
    where = "tied_gaussian"
    xs = _points(where, xs)
    n, d = xs.shape
    labels = jnp.zeros(n, int) if labels is None else jnp.asarray(labels)
    if labels.shape != (n,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"{where}: labels must be whole numbers [n]; got {labels.shape}")
    if is_concrete(labels) and not np.all(np.isin(np.asarray(labels), np.arange(num_classes))):
        found = np.unique(np.asarray(labels))
        raise ValueError(f"{where}: labels must be in 0 .. {num_classes - 1}; got {found}")
    keep = d if keep is None else keep
    if end not in ("low", "high") or not 1 <= keep <= d:
        raise ValueError(f'{where}: end "low" or "high", keep in 1 .. {d}; got {end!r}, {keep}')
    if shrinkage is not None and is_concrete(shrinkage) and not 0 <= shrinkage <= 1:
        raise ValueError(f"{where}: shrinkage must be in [0, 1]; got {shrinkage}")
    counts = jnp.zeros(num_classes, xs.dtype).at[labels].add(1)
    means = jnp.zeros((num_classes, d), xs.dtype).at[labels].add(xs)
    means = means / jnp.maximum(counts, 1)[:, None]
    cov = _covariance(xs - means[labels], shrinkage)
    variances, vectors = jnp.linalg.eigh(cov)
    part = slice(0, keep) if end == "low" else slice(d - keep, d)
    eps = jnp.finfo(xs.dtype).eps
    rounding = (16 * eps) ** 2 * jnp.mean(xs**2)  # of the means, taken off the points
    floor = jnp.maximum(d * eps * variances[-1], rounding)
    some = variances > floor
    scale = jnp.where(some, 1 / jnp.sqrt(jnp.where(some, variances, 1)), 0)
    whiten = scale[:, None] * vectors.T
    return TiedGaussian(means, whiten[part], variances[part], jnp.log(counts / n))


def _covariance(away, shrinkage):
    """The shrunk covariance of residuals [n, d] whose class means are 0."""
    if shrinkage is None:
        return ledoit_wolf(away)[0]
    n, d = away.shape
    cov = away.T @ away / n
    return (1 - shrinkage) * cov + shrinkage * jnp.trace(cov) / d * jnp.eye(d, dtype=cov.dtype)


def class_distances(law: TiedGaussian, x: Array) -> Array:
    """The squared Mahalanobis distances [k] of x to the classes' means.

    Args:
        law: k classes in d dimensions.
        x: features, [d].

    Raises ValueError on a wrong shape. Source: Lee et al. 2018, arXiv:1807.03888, equation 2.
    """
    x = jnp.asarray(x)
    if x.shape != law.means.shape[1:]:
        raise ValueError(f"class_distances: x must be [{law.means.shape[1]}]; got {x.shape}")
    # Distances before products: far from the origin the expanded square would cancel.
    return jnp.sum(((x[None] - law.means) @ law.whiten.T) ** 2, axis=1)


def mahalanobis(law: TiedGaussian, x: Array) -> Array:
    """The squared Mahalanobis distance of x to the nearest class, []; large means outlying.

    Args:
        law: k classes in d dimensions; one without points is never the nearest.
        x: features, [d].

    Raises ValueError on a wrong shape.
    Source: Lee et al. 2018, arXiv:1807.03888, equation 2, with its sign turned.
    """
    distances = class_distances(law, x)
    return jnp.min(jnp.where(law.log_weights > -jnp.inf, distances, jnp.inf))


def class_posterior(law: TiedGaussian, x: Array) -> Array:
    """The log-probabilities [k] of the classes given x, in nats: linear discriminant analysis.

    log softmax of m_cᵀ S⁻¹ x - m_cᵀ S⁻¹ m_c / 2 + log weight_c.

    Args:
        law: k classes in d dimensions.
        x: features, [d].

    Raises ValueError on a wrong shape. Source: Lee et al. 2018, arXiv:1807.03888, section 2.1.
    """
    return jax.nn.log_softmax(law.log_weights - class_distances(law, x) / 2)
