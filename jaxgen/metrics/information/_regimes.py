"""When a kernel density rests on many points, on few, or on one: thresholds of the bandwidth.

Data and kernel are Gaussian in d dimensions, with unit variance in every coordinate, and the number
of points is n = e^(alpha d) with d large. With beta = 1 / h², the sum of kernels freezes below h_G,
where alpha = ½ [log(1 + beta) - beta / (1 + beta)²]; sums obey the central limit theorem above
h_CLT = √2 h_G; in between they are stable laws of tail index (h / h_G)².

Below h_G the nearest points rule, at squared distance d D, D = 1/(1 + beta_G) + 1/(1 + beta_G)²,
and the density there is most likely at h² = D (derived): the best bandwidth lies below h_G to
leading order in d.

Source: Biroli and Mézard 2024, arXiv:2408.05807.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.information._points import positive

Array = jax.Array


class KdeRegimes(NamedTuple):
    """Bandwidths at which a kernel density changes its nature, in standard deviations."""

    h_g: Array  # []: below it one or a few points rule
    h_clt: Array  # []: above it sums are Gaussian
    h_best: Array  # []: of least Kullback-Leibler divergence, to leading order in d


def _entropy_used(log_beta):
    """Alpha [] at which the sum of kernels of precision beta freezes."""
    beta = jnp.exp(log_beta)
    return (jnp.log1p(beta) - beta / (1 + beta) ** 2) / 2


def kde_regimes(alpha: float) -> KdeRegimes:
    """KdeRegimes(h_g [], h_clt [], h_best []) at alpha = log(n) / d, for data N(0, I).

    Raises ValueError unless alpha is positive.
    Source: Biroli and Mézard 2024, arXiv:2408.05807; h_best is derived.
    """
    positive("kde_regimes", "alpha", alpha)
    alpha = jnp.asarray(alpha, jnp.result_type(alpha, float))
    # Bisection of a rising function: beta² ~ 4/3 alpha for small alpha, log beta < 2 alpha + ¼.
    low, high = jnp.minimum(jnp.log(alpha) / 2, 2 * alpha) - 2, 2 * alpha + 2

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        above = _entropy_used(middle) > alpha
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low, high = jax.lax.fori_loop(0, 50, halve, (low, high))
    log_beta = jax.lax.stop_gradient((low + high) / 2)
    # One Newton step: the last digits, and the gradient of the root.
    slope = jax.lax.stop_gradient(jax.grad(_entropy_used)(log_beta))
    log_beta = log_beta - (_entropy_used(log_beta) - alpha) / slope
    h_g = jnp.exp(-log_beta / 2)
    share = 1 / (1 + jnp.exp(log_beta))
    return KdeRegimes(h_g, jnp.sqrt(2.0).astype(h_g.dtype) * h_g, jnp.sqrt(share + share**2))


def kde_tail_index(bandwidth: float, alpha: float) -> Array:
    """The tail index (h / h_G)², []: frozen below 1, a stable law up to 2, Gaussian above.

    Args:
        bandwidth: [], in standard deviations of the data.
        alpha: [], log(n) / d.

    Raises ValueError unless both are positive.
    Source: Biroli and Mézard 2024, arXiv:2408.05807.
    """
    positive("kde_tail_index", "bandwidth", bandwidth)
    return (bandwidth / kde_regimes(alpha).h_g) ** 2
