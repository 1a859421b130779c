"""Gaussian kernel density: log-density, leave-one-out, bandwidth, and the entropy it gives.

    log f(x) = log Σ_j exp(-|x - x_j|² / (2 h²)) - log n - d log h - (d / 2) log 2π,

summed in the log domain over rows made a block at a time. Left-out densities do not see their own
point; their mean logarithm is maximal at a bandwidth of use, where the plain one is infinite at 0.

Sources: Silverman 1986, sections 4.2 and 3.4.4 (likelihood cross-validation); Biroli and Mézard
2024, arXiv:2408.05807 (participation ratio).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._balls import resolution, size_of
from jaxgen.metrics.information._points import each_row, mean_of, paired, points, positive

Array = jax.Array


def _norm(n, d, bandwidth, dtype):
    """What the sum of kernels is divided by, in logarithms, [] or of the bandwidth's shape."""
    return jnp.log(jnp.asarray(n, dtype)) + d * (jnp.log(bandwidth) + jnp.log(2 * jnp.pi) / 2)


def _bandwidth(where, bandwidth, dtype):
    if jnp.ndim(bandwidth) != 0:
        raise ValueError(f"{where}: bandwidth must be []; got shape {jnp.shape(bandwidth)}")
    positive(where, "bandwidth", bandwidth)
    return jnp.asarray(bandwidth, dtype)


def _two(where, xs, data):
    xs, data = points(where, "xs", xs, least=1), points(where, "data", data, least=1)
    if xs.shape[1] != data.shape[1]:
        raise ValueError(
            f"{where}: xs and data must have one event; got {xs.shape[1]} and {data.shape[1]} "
            "entries"
        )
    dtype = jnp.result_type(xs, data)
    return xs.astype(dtype), data.astype(dtype)


def kde_logdensity(xs: Array, data: Array, bandwidth: float, *, chunk: int = 256) -> Array:
    """The log-density in nats, [m], at xs [m, *event] of a Gaussian kernel estimate from data.

    Args:
        xs: [m, *event].
        data: [n, *event].
        bandwidth: [], the standard deviation of the kernel.
        chunk: points treated at a time; memory grows as chunk · n.

    Raises ValueError on unequal events, no points, or a bandwidth that is not positive.
    Source: Silverman 1986, section 4.2.
    """
    xs, data = _two("kde_logdensity", xs, data)
    h = _bandwidth("kde_logdensity", bandwidth, xs.dtype)
    n, d = data.shape
    each = lambda i, x: jax.nn.logsumexp(-size_of(x[None] - data, "euclidean") / (2 * h**2))
    return each_row(each, xs, chunk) - _norm(n, d, h, xs.dtype)


def _left_out(data, hs, chunk):
    """The left-out log-density at every point for every bandwidth hs [m]: [n, m]."""
    n, d = data.shape

    def each(i, x):
        far, other = size_of(x[None] - data, "euclidean"), jnp.arange(n) != i
        # Masked after the division: an infinity there would have no gradient.
        of = lambda h: jax.nn.logsumexp(jnp.where(other, -far / (2 * h**2), -jnp.inf))
        return jax.vmap(of)(hs)

    return each_row(each, data, chunk) - _norm(n - 1, d, hs, data.dtype)[None]


def kde_left_out(data: Array, bandwidth: float, *, chunk: int = 256) -> Array:
    """The log-density in nats, [n], at every point of data [n, *event] from all the others.

    Args:
        data: [n, *event], n >= 2.
        bandwidth: [], the standard deviation of the kernel.
        chunk: points treated at a time.

    Raises ValueError on fewer than two points or a bandwidth that is not positive.
    Source: Silverman 1986, section 3.4.4.
    """
    data = points("kde_left_out", "data", data)
    h = _bandwidth("kde_left_out", bandwidth, data.dtype)
    return _left_out(data, h[None], chunk)[:, 0]


def kde_bandwidth(data: Array, *, num: int = 8, rounds: int = 4, chunk: int = 256) -> Array:
    """The bandwidth [] under which points are most likely given the others.

    At a maximum h² d is a mean of squared distances, so it lies between the root mean square
    distances to the nearest and to all other points, over √d. That range is searched on num
    bandwidths a constant factor apart, then between the neighbours of the best, in rounds: by
    default to about 2 %. No gradient flows through the choice. Where every point has a copy it is
    the resolution of the sample (eps times its largest deviation).

    Args:
        data: [n, *event], n >= 2.
        num: bandwidths in a round, at least 4.
        rounds: of refinement.
        chunk: points treated at a time.

    Raises ValueError on fewer than two points or num below 4.
    Source: Silverman 1986, section 3.4.4; the range is derived (the derivative in h is zero).
    """
    data = jax.lax.stop_gradient(points("kde_bandwidth", "data", data))
    if not isinstance(num, int) or num < 4:
        raise ValueError(f"kde_bandwidth: num must be an integer of at least 4; got {num!r}")
    n, d = data.shape

    def reach(i, x):
        far = size_of(x[None] - data, "euclidean")
        return jnp.min(jnp.where(jnp.arange(n) == i, jnp.inf, far)), jnp.sum(far) / (n - 1)

    ends = (jnp.sqrt(jnp.mean(square) / d) for square in each_row(reach, data, chunk))
    low, high = (jnp.log(jnp.maximum(end, resolution(data))) for end in ends)

    def narrow(_, found):
        low, high, _ = found
        grid = jnp.linspace(low, high, num, dtype=data.dtype)
        likely = jnp.mean(_left_out(data, jnp.exp(grid), chunk), axis=0)
        best = jnp.argmax(likely)
        low, high = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, num - 1)]
        return low, high, grid[best]

    return jnp.exp(jax.lax.fori_loop(0, rounds, narrow, (low, high, low))[2])


def entropy_kde(data: Array, *, bandwidth: float | None = None, chunk: int = 256) -> Estimate:
    """The differential entropy in nats, an Estimate of two [], as minus the mean left-out density.

    Too large on average, by the divergence of the estimate from the truth; differentiable.

    Args:
        data: [n, *event], n >= 2.
        bandwidth: [], or None for `kde_bandwidth`.
        chunk: points treated at a time.

    Raises ValueError on fewer than two points or a bandwidth that is not positive.
    Source: Beirlant et al. 1997, Nonparametric entropy estimation, section 2 (resubstitution with
    the point left out).
    """
    data = points("entropy_kde", "data", data)
    h = kde_bandwidth(data, chunk=chunk) if bandwidth is None else bandwidth
    return mean_of(-kde_left_out(data, h, chunk=chunk))


def mi_kde(xs: Array, ys: Array, *, bandwidth: float | None = None, chunk: int = 256) -> Estimate:
    """The mutual information in nats, an Estimate of two [], from three left-out kernel densities.

    Coordinates are scaled to unit variance first (a constant one is left alone). Too small on
    average: the joint density is the hardest of the three.

    Args:
        xs: [n, *event].
        ys: [n, *event], its own event.
        bandwidth: [] in units of the standard deviation, for all three, or None: each has its own,
            the most likely one.
        chunk: points treated at a time.

    Raises ValueError on unequal numbers of points, fewer than two, or a bandwidth <= 0.
    Source: Moon, Rajagopalan and Lall 1995, Estimation of mutual information using kernel density
    estimators.
    """
    xs, ys = paired("mi_kde", xs, ys)
    xs, ys = _unit(xs), _unit(ys)
    terms = []
    for cloud in (xs, ys, jnp.concatenate([xs, ys], axis=1)):
        h = kde_bandwidth(cloud, chunk=chunk) if bandwidth is None else bandwidth
        terms.append(kde_left_out(cloud, h, chunk=chunk))
    return mean_of(terms[2] - terms[0] - terms[1])


def _unit(xs):
    spread = jnp.var(xs, axis=0, keepdims=True)
    least = resolution(xs) ** 2
    return xs / jnp.sqrt(jnp.where(spread > least, spread, 1))


def participation_ratio(xs: Array, data: Array, bandwidth: float, *, chunk: int = 256) -> Array:
    """Σ_j p_j² at every x, [m] in [1/n, 1]: p_j is the share of data point j in the density.

    Its inverse is the number of points that the estimate rests on.

    Args:
        xs: [m, *event].
        data: [n, *event].
        bandwidth: [], the standard deviation of the kernel.
        chunk: points treated at a time.

    Raises ValueError as `kde_logdensity`.
    Source: Biroli and Mézard 2024, arXiv:2408.05807.
    """
    xs, data = _two("participation_ratio", xs, data)
    h = _bandwidth("participation_ratio", bandwidth, xs.dtype)

    def each(i, x):
        share = jax.nn.softmax(-size_of(x[None] - data, "euclidean") / (2 * h**2))
        return jnp.sum(share**2)

    return each_row(each, xs, chunk)
