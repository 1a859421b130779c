"""Members of the exponential family, in minimal natural parameters.

Sources: Wainwright and Jordan 2008, table 3.1; Minka 2002, Estimating a gamma distribution (the
inverse of log a - ψ(a)); Malmstén's integral of log Γ (NIST DLMF 5.9.12).
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy import special
from jax.tree_util import Partial

from jaxgen.math._phi import phi
from jaxgen.math.exponential_family._record import ExponentialFamily, exponential_family

Array = jax.Array

_LOG_2PI = math.log(2 * math.pi)
_NODES = 512
_NEWTON_STEPS = 8


def _constant(value, _):
    return value


def _member(log_partition, statistics, inverse, log_base=0.0):
    """A record of module-level functions; log_base is a constant."""
    parts = (log_partition, statistics, inverse)
    log_partition, statistics, inverse = (Partial(part) for part in parts)
    base = Partial(_constant, log_base)
    return ExponentialFamily(log_partition, statistics, base, inverse, base)


def normal() -> ExponentialFamily:
    """The normal laws of x []: natural (m/v, -1/(2v)), mean (m, m² + v), both [2].

    Source: Wainwright and Jordan 2008, table 3.1.
    """
    return _member(_normal_partition, _normal_statistics, _normal_inverse, -0.5 * _LOG_2PI)


def _normal_partition(natural):
    first, second = natural
    return -(first**2) / (4 * second) - 0.5 * jnp.log(-2 * second)


def _normal_statistics(x):
    return jnp.stack([x, x**2])


def _normal_inverse(mean):
    variance = mean[1] - mean[0] ** 2
    variance = jnp.where(variance > 0, variance, jnp.nan)
    return jnp.stack([mean[0] / variance, -0.5 / variance])


def gaussian(d: int) -> ExponentialFamily:
    """The Gaussian laws of x [d], natural and mean [d + d (d + 1) / 2].

    With precision P and mean m the natural parameters are (P m, -½ P_ii on the diagonal and -P_ij
    above it), and the statistics (x, x_i x_j for i <= j), row by row.

    Raises ValueError when d < 1. Source: Wainwright and Jordan 2008, example 3.3.
    """
    if d < 1:
        raise ValueError(f"exponential_family.gaussian: d must be at least 1; got {d}")
    return _member(
        _gaussian_partition, _gaussian_statistics, _gaussian_inverse, -0.5 * d * _LOG_2PI
    )


def _dimension(size):
    d = (math.isqrt(9 + 8 * size) - 3) // 2
    if d < 1 or d + d * (d + 1) // 2 != size:
        raise ValueError(
            f"exponential_family.gaussian: parameters must be [d + d (d + 1) / 2]; got [{size}]"
        )
    return d


def _gaussian_partition(natural):
    d = _dimension(natural.shape[0])
    rows, columns = jnp.triu_indices(d)
    upper = jnp.zeros((d, d), natural.dtype).at[rows, columns].set(-natural[d:])
    chol = jnp.linalg.cholesky(upper + upper.T)  # of the precision: nan outside the domain
    whitened = jax.scipy.linalg.solve_triangular(chol, natural[:d], lower=True)
    return 0.5 * whitened @ whitened - jnp.sum(jnp.log(jnp.diagonal(chol)))


def _gaussian_statistics(x):
    rows, columns = jnp.triu_indices(x.shape[0])
    return jnp.concatenate([x, x[rows] * x[columns]])


def _gaussian_inverse(mean):
    d = _dimension(mean.shape[0])
    rows, columns = jnp.triu_indices(d)
    upper = jnp.zeros((d, d), mean.dtype).at[rows, columns].set(mean[d:])
    second = upper + jnp.triu(upper, 1).T
    chol = jnp.linalg.cholesky(second - jnp.outer(mean[:d], mean[:d]))
    precision = jax.scipy.linalg.cho_solve((chol, True), jnp.eye(d, dtype=mean.dtype))
    share = jnp.where(rows == columns, 0.5, 1.0).astype(mean.dtype)
    return jnp.concatenate([precision @ mean[:d], -share * precision[rows, columns]])


def bernoulli() -> ExponentialFamily:
    """The laws of x [] in {0, 1}: natural [1], the log-odds; mean [1], the probability of 1.

    Source: Wainwright and Jordan 2008, table 3.1.
    """
    return _member(_bernoulli_partition, _one, _bernoulli_inverse)


def _bernoulli_partition(natural):
    return jax.nn.softplus(natural[0])


def _one(x):
    return jnp.asarray(x, jnp.result_type(x, float))[None]


def _bernoulli_inverse(mean):
    return jnp.log(mean) - jnp.log1p(-mean)


def categorical(n: int) -> ExponentialFamily:
    """The laws of x [], an integer in 0 .. n - 1; natural and mean [n - 1], without the last class.

    Natural parameters are log-odds against the last class, mean parameters the probabilities.

    Raises ValueError when n < 2. Source: Wainwright and Jordan 2008, example 3.2.
    """
    if n < 2:
        raise ValueError(f"exponential_family.categorical: n must be at least 2; got {n}")
    classes = jnp.eye(n)[:, : n - 1]
    family = _member(_categorical_partition, _one, _categorical_inverse)
    return family._replace(statistics=Partial(_row, classes))


def _row(rows, x):
    return rows[x]


def _categorical_partition(natural):
    return jax.nn.logsumexp(jnp.concatenate([natural, jnp.zeros(1, natural.dtype)]))


def _categorical_inverse(mean):
    return jnp.log(mean) - jnp.log1p(-jnp.sum(mean))


def softmax(features: Array, log_base: Array | None = None) -> ExponentialFamily:
    """The laws over n rows of features [n, p]: p(x | h) goes as b(x) exp <h, features_x>.

    With features the output embeddings of a language model and b its unigram law, the divergence
    of p(. | h) from b is the information gain of h, about ½ <h, G h>. The inverse is Newton's; it
    is nan where features are not affinely independent enough for G to be regular.

    Args: features [n, p]; log_base [n], None is 0. x is an index []. Raises ValueError on other
    shapes.
    Source: Oyama et al. 2023, arXiv 2212.09663.
    """
    features = jnp.asarray(features)
    if features.ndim != 2:
        raise ValueError(
            f"exponential_family.softmax: features must be [n, p]; got shape {features.shape}"
        )
    n, p = features.shape
    log_base = jnp.zeros(n, features.dtype) if log_base is None else jnp.asarray(log_base)
    if log_base.shape != (n,):
        raise ValueError(
            f"exponential_family.softmax: log_base must be [{n}]; got shape {log_base.shape}"
        )
    return exponential_family(
        Partial(_softmax_partition, features, log_base),
        Partial(_row, features),
        start=jnp.zeros(p, features.dtype),
        log_base=Partial(_row, log_base),
        mean_log_base=Partial(_softmax_base, features, log_base),
    )


def _softmax_partition(features, log_base, natural):
    return jax.nn.logsumexp(features @ natural + log_base)


def _softmax_base(features, log_base, natural):
    seen = jax.nn.softmax(features @ natural + log_base)
    return jnp.sum(jnp.where(seen > 0, seen * jnp.where(seen > 0, log_base, 0), 0))


def poisson() -> ExponentialFamily:
    """The laws of counts x []: natural [1], the log of the rate; mean [1], the rate.

    Source: Wainwright and Jordan 2008, table 3.1.
    """
    parts = (_poisson_partition, _one, _poisson_base, _poisson_inverse, _poisson_mean_base)
    return ExponentialFamily(*(Partial(part) for part in parts))


def _poisson_partition(natural):
    return jnp.exp(natural[0])


def _poisson_base(x):
    return -special.gammaln(jnp.asarray(x, jnp.result_type(x, float)) + 1)


def _poisson_inverse(mean):
    return jnp.log(mean)


def _poisson_mean_base(natural):
    """-E log x!, from Malmstén's log x! = ∫ (x - (1 - e^(-xt)) / (1 - e^(-t))) e^(-t) dt / t.

    Its mean has one closed form under the integral, and in log t the integrand is analytic and dies
    off on both sides: the trapezoidal rule is exact to rounding.
    """
    rate = jnp.exp(natural[0])
    low = -40.0 - jnp.log1p(rate)  # the integrand is rate² t / 2 below 1 / rate
    nodes = jnp.linspace(0.0, 1.0, _NODES, dtype=natural.dtype)
    log_t = low + (4.0 - low) * nodes
    t = jnp.exp(log_t)
    reach = rate * -jnp.expm1(-t)
    spacing = (4.0 - low) / (_NODES - 1)
    return -rate * jnp.sum(jnp.exp(-t) * reach * phi(2, -reach)) * spacing


def exponential() -> ExponentialFamily:
    """The exponential laws of x [] > 0: natural [1], minus the rate; mean [1], one over the rate.

    Source: Wainwright and Jordan 2008, table 3.1.
    """
    return _member(_exponential_partition, _one, _exponential_inverse)


def _exponential_partition(natural):
    return -jnp.log(-natural[0])


def _exponential_inverse(mean):
    return -1 / jnp.where(mean > 0, mean, jnp.nan)


def gamma() -> ExponentialFamily:
    """The gamma laws of x [] > 0 with shape a and rate r: natural (a - 1, -r), mean (E log x, E x).

    Both are [2]; the inverse solves log a - ψ(a) = log E x - E log x.
    Source: Wainwright and Jordan 2008, table 3.1; Minka 2002, Estimating a gamma distribution.
    """
    return _member(_gamma_partition, _gamma_statistics, _gamma_inverse)


def _gamma_partition(natural):
    shape = natural[0] + 1
    shape = jnp.where(shape > 0, shape, jnp.nan)
    return special.gammaln(shape) - shape * jnp.log(-natural[1])


def _gamma_statistics(x):
    return jnp.stack([jnp.log(x), x])


def _gamma_inverse(mean):
    gap = jnp.log(mean[1]) - mean[0]
    gap = jnp.where(gap > 0, gap, jnp.nan)
    shape = _digamma_inverse(gap)
    return jnp.stack([shape - 1, -shape / mean[1]])


def _digamma_inverse(gap):
    """The shape a > 0 with log a - ψ(a) = gap > 0, by Newton's method in 1/a."""

    def solve(_, shape):
        for _ in range(_NEWTON_STEPS):
            rest = jnp.log(shape) - special.digamma(shape) - gap
            slope = 1 / shape - special.polygamma(1, shape)
            shape = 1 / (1 / shape + rest / (shape**2 * slope))
        return shape

    start = (3 - gap + jnp.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    residual = lambda shape: jnp.log(shape) - special.digamma(shape) - gap
    return jax.lax.custom_root(residual, start, solve, lambda push, y: y / push(jnp.ones_like(y)))
