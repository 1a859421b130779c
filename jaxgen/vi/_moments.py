"""Means and variances through the layers of a network whose weights are Gaussian: variational
inference without draws.

Each layer takes the entries for independent Gaussians of known mean and variance and hands on the
exact mean and variance of what comes out; between layers the sums are taken for Gaussian and their
correlations are dropped. Source: Hernandez-Lobato and Adams 2015, arXiv 1502.05336; Frey and Hinton
1999 for rectified units; the GELU's (Hendrycks and Gimpel 2016, arXiv 1606.08415) are derived here.
"""

import math

import jax
import jax.numpy as jnp

from jaxgen.math import gauss_legendre

_cdf = jax.scipy.stats.norm.cdf
_pdf = jax.scipy.stats.norm.pdf


def linear_moments(weights, bias, mean, variance):
    """(mean [m], variance [m]) of A x + b, for x [n] of independent entries with this mean and
    variance and independent random A [m, n] and b [m].

    Args: weights, a pair (mean [m, n], variance [m, n]); bias, a pair (mean [m], variance [m]).
    Exact, whatever the laws; the entries of the result are correlated. Raises ValueError on shapes
    that do not fit. Source: Hernandez-Lobato and Adams 2015, arXiv 1502.05336, equation 13.
    """
    shapes = [jnp.shape(each) for each in (*weights, *bias, mean, variance)]
    n, m = jnp.size(mean), jnp.size(bias[0])
    if shapes != [(m, n), (m, n), (m,), (m,), (n,), (n,)]:
        raise ValueError(
            "vi.linear_moments: weights [m, n] twice, bias [m] twice, mean [n] and variance [n] "
            f"must fit; got {shapes}"
        )
    spread = weights[0] ** 2 @ variance + weights[1] @ (mean**2 + variance)
    return weights[0] @ mean + bias[0], spread + bias[1]


def relu_moments(mean, variance):
    """(mean [*event], variance [*event]) of max(x, 0) entry by entry, x ~ N(mean, variance).

    Where the variance is 0 the result is that of the mean alone. Source: Frey and Hinton 1999.
    """
    root = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    cdf, pdf = _cdf(mean / root), _pdf(mean / root)
    first = mean * cdf + root * pdf
    second = (mean**2 + variance) * cdf + mean * root * pdf
    random = variance > 0
    return (
        jnp.where(random, first, jnp.maximum(mean, 0)),
        jnp.where(random, jnp.maximum(second - first**2, 0), 0),
    )


def gelu_moments(mean, variance):
    """(mean [*event], variance [*event]) of x Phi(x) entry by entry, x ~ N(mean, variance), Phi the
    normal distribution function.

    Source: derived. Stein's identity turns E x Phi and E (x Phi)^2 into means of normal densities
    and E Phi(x)^2, a bivariate normal probability, which is Owen's T (Owen 1956).
    """
    wide = jnp.sqrt(1 + variance)
    first = _mean_gelu(mean, variance)
    h = mean / wide
    square = _cdf(h) - 2 * _owens_t(h, 1 / jnp.sqrt(1 + 2 * variance))
    # phi(x) N(x; mean, variance) = scale N(x; tilted): E g' and E g'' of g = Phi^2.
    scale, tilted, narrow = _pdf(h) / wide, mean / wide**2, variance / wide**2
    slope = 2 * scale * _cdf(tilted / jnp.sqrt(1 + narrow))
    both = jnp.exp(-(mean**2) / (1 + 2 * variance)) / (2 * math.pi * jnp.sqrt(1 + 2 * variance))
    bend = 2 * both - 2 * scale * _mean_gelu(tilted, narrow)
    second = (mean**2 + variance) * square + variance * (2 * mean * slope + variance * bend)
    return first, jnp.maximum(second - first**2, 0)


def mp_gelu_moments(mean, variance):
    """(mean [*event], variance [*event]) of g x entry by entry, x ~ N(mean, variance), with the
    gate g = Phi(mean / sqrt(1 + variance)) = E Phi(x): a GELU whose gate reads the statistics.

    Given them it is linear: Gaussians stay Gaussian and correlations stay, at the price of one
    normal distribution function. Beside `gelu_moments` the mean lacks the covariance of x and
    Phi(x), variance / sqrt(1 + variance) phi(mean / sqrt(1 + variance)) > 0; at variance 0 both are
    the GELU. The variance is a constant slope's: from 0.6 to 1 of the exact one where the mean is
    not negative (0.72 at mean 0 and variance 1); where it is, off by factors both ways.
    Source: Hirayama and Takamaeda-Yamazaki 2022, arXiv 2211.13402 (nonlinearity on the statistics);
    the gate derived here.
    """
    gate = _cdf(mean / jnp.sqrt(1 + variance))
    return gate * mean, gate**2 * variance


def _mean_gelu(mean, variance):
    wide = jnp.sqrt(1 + variance)
    return mean * _cdf(mean / wide) + variance / wide * _pdf(mean / wide)


def _owens_t(h, a):
    """Owen's T(h, a) = int_0^a exp(-h^2 (1 + x^2) / 2) / (1 + x^2) dx / 2 pi, for a in [0, 1]."""
    total = jnp.zeros_like(h)
    for node, weight in zip(*gauss_legendre(20), strict=True):
        grown = 1 + (a * float(node)) ** 2
        total = total + float(weight) * jnp.exp(-(h**2) * grown / 2) / grown
    return a * total / (2 * math.pi)
