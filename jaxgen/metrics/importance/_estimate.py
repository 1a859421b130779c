"""Several expectations from one weighted sample, with the weight's known mean as control variate.

With x from g and w = f/g, the mean of w is 1, so for any beta_j

    I_j = mean(w phi_j) - beta_j (mean(w) - 1)

is unbiased. For a fixed g the best beta_j is Cov(w phi_j, w) / Var(w). With beta_j = I_j the
variance is E_g[w² (phi_j - I_j)²] / n, and the g that makes Σ a_j of it least is proportional to
f sqrt(Σ_j a_j (phi_j - I_j)²) (by Cauchy and Schwarz); the sum is then (E_f sqrt(Σ ...))² / n.
The two choices are each the best given the other's kind, not jointly: for the probability I of one
rare event they give 4 I² / n, where beta = 0 with g proportional to f phi gives 0.

Sources: Owen and Zhou 2000, Safe and effective importance sampling (densities as control
variates); Kong 1992, A note on importance sampling using standardized weights (effective size);
the optimal density is derived above.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class Expectations(NamedTuple):
    """Estimates of several expectations from one sample. Source: definition."""

    value: Array  # [J]
    standard_error: Array  # [J]
    beta: Array  # [J], coefficients of the control variate
    effective_size: Array  # [], of the weights


def log_weights_of(where: str, log_weights) -> Array:
    """The log-weights [n], checked (-inf is a weight of 0); else ValueError. Source: definition."""
    log_weights = jnp.asarray(log_weights)
    if log_weights.ndim != 1 or not jnp.issubdtype(log_weights.dtype, jnp.floating):
        raise ValueError(
            f"{where}: log_weights must be floating [n]; got {log_weights.dtype} "
            f"{log_weights.shape}"
        )
    if log_weights.shape[0] < 2:
        raise ValueError(f"{where}: log_weights must hold at least 2; got {log_weights.shape[0]}")
    if not isinstance(log_weights, jax.core.Tracer):
        numbers = np.asarray(log_weights)
        if np.any(np.isnan(numbers) | (numbers == np.inf)) or np.all(numbers == -np.inf):
            raise ValueError(
                f"{where}: log_weights must be below infinity, and not all -inf; got {numbers}"
            )
    return log_weights


def effective_sample_size(log_weights: Array) -> Array:
    """The number of equal weights [] that spread as little: (Σ w)² / Σ w², between 1 and n.

    Args:
        log_weights: [n], up to a constant.

    Raises ValueError on a wrong shape, nan or infinity.
    Source: Kong 1992.
    """
    log_weights = log_weights_of("importance.effective_sample_size", log_weights)
    total = jax.nn.logsumexp(log_weights)
    return jnp.exp(2 * total - jax.nn.logsumexp(2 * log_weights))


def estimate(log_weights: Array, values: Array, *, beta: Array | None = None) -> Expectations:
    """Expectations of J functions under f, each with its error, from a sample of g.

    Args:
        log_weights: [n], log f - log g of normalised densities.
        values: [n, J], the functions at the points.
        beta: [J]; with one found elsewhere (zeros: no control variate) the value is unbiased. None
            takes the regression coefficient of this sample, which biases it by O(1/n).

    Equal weights leave no control variate: beta is then 0. Raises ValueError on shapes that do not
    fit, or log-weights that are nan or infinite.
    Source: Owen and Zhou 2000, section 3.
    """
    log_weights = log_weights_of("importance.estimate", log_weights)
    values = jnp.asarray(values)
    n = log_weights.shape[0]
    if values.ndim != 2 or values.shape[0] != n:
        raise ValueError(
            f"importance.estimate: values must be [n, J] with n = {n}; got {values.shape}"
        )
    w = jnp.exp(log_weights)
    products = w[:, None] * values
    if beta is None:
        beta = _slope(products, w)
    beta = jnp.asarray(beta, values.dtype)
    if beta.shape != values.shape[1:]:
        raise ValueError(
            f"importance.estimate: beta must be [J] with J = {values.shape[1]}; got {beta.shape}"
        )
    terms = products - beta[None, :] * (w - 1)[:, None]
    value = jnp.mean(terms, axis=0)
    variance = jnp.sum((terms - value[None]) ** 2, axis=0) / (n - 1)
    return Expectations(value, jnp.sqrt(variance / n), beta, effective_sample_size(log_weights))


def _slope(products, w):
    """The regression coefficients [J] of products [n, J] on w [n]; 0 where w does not vary."""
    centred = w - jnp.mean(w)
    square = jnp.sum(centred**2)
    varies = square > w.shape[0] * (jnp.finfo(w.dtype).eps * jnp.mean(w)) ** 2
    cross = centred @ (products - jnp.mean(products, axis=0)[None])
    return jnp.where(varies, cross / jnp.where(varies, square, 1), 0)


def log_spread(values: Array, centres: Array, scales: Array | None) -> Array:
    """log sqrt(Σ_j a_j (phi_j - I_j)²) [] of values [J]; -inf where all are at their centres.

    Source: derived, see the head of the file.
    """
    square = (values - centres) ** 2
    total = jnp.sum(square if scales is None else scales * square)
    positive = total > 0
    return jnp.where(positive, 0.5 * jnp.log(jnp.where(positive, total, 1)), -jnp.inf)


def optimal_logdensity(
    logdensity_fn: Callable[[Array], Array],
    values_fn: Callable[[Array], Array],
    centres: Array,
    *,
    scales: Array | None = None,
) -> Callable[[Array], Array]:
    """x [*event] -> log g*(x) [], the best proposal for all expectations; unnormalised, in nats.

    Args:
        logdensity_fn: log f, x [*event] -> [].
        values_fn: x [*event] -> [J].
        centres: [J], the expectations (or what is known of them).
        scales: [J], the a_j: how much each variance counts; None is 1 each.

    Raises ValueError unless centres are [J] and scales fit and are not negative.
    Source: derived, see the head of the file.
    """
    centres = jnp.asarray(centres)
    if centres.ndim != 1:
        raise ValueError(f"importance.optimal_logdensity: centres must be [J]; got {centres.shape}")
    scales = checked_scales("importance.optimal_logdensity", scales, centres.shape[0])
    return lambda x: logdensity_fn(x) + log_spread(values_fn(x), centres, scales)


def checked_scales(where: str, scales, count: int) -> Array | None:
    """The scales [J] or None; raises ValueError unless they fit and are not negative.

    Source: definition.
    """
    if scales is None:
        return None
    scales = jnp.asarray(scales)
    if scales.shape != (count,):
        raise ValueError(f"{where}: scales must be [{count}]; got {scales.shape}")
    if not isinstance(scales, jax.core.Tracer) and not np.all(np.asarray(scales) >= 0):
        raise ValueError(f"{where}: scales must not be negative; got {np.asarray(scales)}")
    return scales
