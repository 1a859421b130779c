"""Normalisers by annealed importance sampling, from both ends.

Source: Neal 2001; Grosse, Ghahramani and Adams 2015, arXiv 1511.02543, for the upper bound.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.likelihoods._options import check_count
from jaxgen.math import is_concrete


class AnnealedTerms(NamedTuple):
    """An estimate of log Z and how far to trust it, nats. Source: definition."""

    log_normaliser: Any  # [] log Z of the target over Z of the start
    standard_error: Any  # [] of log_normaliser by the delta method
    bound: Any  # [] mean of log-weights: below log Z on average; above, in reverse
    bound_error: Any  # [] standard error of bound
    effective_draws: Any  # [] (sum w)^2 / sum w^2, from 1 to n
    divergences: Any  # [] steps called divergent, and weights that are NaN or +inf
    log_weights: Any  # [n]
    particles: Any  # [n, *event], to be weighted by exp(log_weights) when run forward


def annealed(path, kernel, exponents, start, *, draws, steps=1):
    """log_prob(key, x [*event]) -> [] nats: path(1)(x) less the log Z that annealed importance
    sampling finds under the key.

    exp(-log Z) is estimated from below on average, so log_prob is from above: look at
    `annealed_terms` and `annealed_reverse` for the error and the gap. Args and errors as
    `annealed_terms`. Source: Neal 2001; Salakhutdinov and Murray 2008.
    """
    terms = annealed_terms(path, kernel, exponents, start, draws=draws, steps=steps)
    return lambda key, x: path(1.0)(x) - terms(key).log_normaliser


def annealed_terms(path, kernel, exponents, start, *, draws, steps=1):
    """terms(key) -> AnnealedTerms: log Z of path(1) by annealed importance sampling from exact
    draws of path(0), nats.

    Each of n draws passes through all exponents s_1 < ... < s_T: its log-weight gains
    log p_{s_k}(x) - log p_{s_{k-1}}(x), then x moves by `steps` steps of kernel(s_k). exp of the
    weights is unbiased for Z(1) / Z(0) whatever the kernels' speed, if each leaves its path(s)
    invariant; reversible it need not be. Normalise the start, and Z(0) = 1. No particle is dropped:
    the weights are carried.

    Args: path(exponent []) -> logdensity_fn, as `energies.geometric_path`; kernel(exponent []) ->
    SamplingAlgorithm that leaves path(exponent) invariant, of blackjax or `mcmc`, its options free
    to depend on the exponent; exponents [T + 1], rising from 0 to 1; start, any record with
    sample(key) -> [*event], draws of path(0). Raises ValueError on exponents that do not rise from
    0 to 1, draws < 2 or steps < 1.
    Source: Neal 2001, equations 4-11.
    """
    ladder = _checked("annealed", exponents, draws, steps)

    def terms(key):
        key_start, key_run = jax.random.split(key)
        xs = jax.vmap(start.sample)(jax.random.split(key_start, draws))

        def one(key, x):
            def body(carry, indexed):
                x, weight, bad = carry
                i, before, now = indexed
                weight = weight + path(now)(x) - path(before)(x)
                x, more = _moved(kernel(now), jax.random.fold_in(key, i), x, steps)
                return (x, weight, bad + more), None

            return _scanned(body, x, path, ladder)

        return _summary(*jax.vmap(one)(jax.random.split(key_run, draws), xs), sign=1)

    return terms


def annealed_reverse(path, kernel, exponents, *, steps=1):
    """terms(key, xs [n, *event]) -> AnnealedTerms: log Z from the other end, nats: exact draws xs
    of path(1) are cooled to path(0).

    The mean of the log-weights lies above log Z on average, as that of `annealed_terms` below: the
    two bracket it, and the gap bounds what both miss. This holds for exact independent draws alone
    (data made from the model); from chains that have not mixed nothing is bounded.
    `log_normaliser` is minus the log of the mean of exp(-log-weights), also from above on average.

    Args: as `annealed_terms`, with n >= 2 draws; `particles` are where they end, at s_1. Raises
    ValueError as it does.
    Source: Grosse, Ghahramani and Adams 2015, arXiv 1511.02543, section 3.
    """
    ladder = _checked("annealed_reverse", exponents, 2, steps)

    def terms(key, xs):
        if len(xs) < 2:
            raise ValueError(f"likelihoods.annealed_reverse: at least two draws; got {len(xs)}")

        def one(key, x):
            def body(carry, indexed):
                x, weight, bad = carry
                i, before, now = indexed
                x, more = _moved(kernel(now), jax.random.fold_in(key, i), x, steps)
                return (x, weight + path(now)(x) - path(before)(x), bad + more), None

            return _scanned(body, x, path, ladder, reverse=True)

        return _summary(*jax.vmap(one)(jax.random.split(key, len(xs)), xs), sign=-1)

    return terms


def _scanned(body, x, path, ladder, *, reverse=False):
    value = jax.eval_shape(lambda x: jnp.asarray(path(1.0)(x)), x)
    ladder = jnp.asarray(ladder, value.dtype)
    start = x, jnp.zeros((), value.dtype), jnp.zeros((), int)
    rows = jnp.arange(len(ladder) - 1), ladder[:-1], ladder[1:]
    (x, weight, bad), _ = jax.lax.scan(body, start, rows, reverse=reverse)
    return x, weight, bad


def _moved(algorithm, key, x, steps):
    key_init, key_steps = jax.random.split(key)

    def body(carry, i):
        state, bad = carry
        state, info = algorithm.step(jax.random.fold_in(key_steps, i), state)
        return (state, bad + jnp.asarray(getattr(info, "is_divergent", False), int)), None

    carry = algorithm.init(x, key_init), jnp.zeros((), int)
    (state, bad), _ = jax.lax.scan(body, carry, jnp.arange(steps))
    return state.position, bad


def _summary(xs, logs, bad, *, sign):
    """Forward the mean of exp(logs) estimates Z, in reverse (sign -1) that of exp(-logs) 1 / Z."""
    n = len(logs)
    value = jax.nn.logsumexp(sign * logs) - np.log(n)
    weights = jnp.exp(sign * logs - value)
    broken = jnp.isnan(logs) | (sign * logs == jnp.inf)
    return AnnealedTerms(
        sign * value,
        jnp.std(weights, ddof=1) / n**0.5,
        jnp.mean(logs),
        jnp.std(logs, ddof=1) / n**0.5,
        n**2 / jnp.sum(weights**2),
        jnp.sum(bad) + jnp.sum(broken),
        logs,
        xs,
    )


def _checked(name, exponents, draws, steps):
    check_count(f"likelihoods.{name}", "draws", draws)
    check_count(f"likelihoods.{name}", "steps", steps)
    if draws < 2:
        raise ValueError(f"likelihoods.{name}: draws must be at least 2; got {draws}")
    if np.ndim(exponents) != 1 or len(exponents) < 2:
        raise ValueError(
            f"likelihoods.{name}: exponents must be [T + 1], T >= 1; got {np.shape(exponents)}"
        )
    if is_concrete(exponents):
        held = np.asarray(exponents)
        if held[0] != 0 or held[-1] != 1 or not np.all(np.diff(held) > 0):
            raise ValueError(
                f"likelihoods.{name}: exponents must rise from 0 to 1; got {held[0]} to {held[-1]}"
                + ("" if np.all(np.diff(held) > 0) else ", not rising")
            )
    return jnp.asarray(exponents)
