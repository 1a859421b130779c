"""A denoiser as a log-density for samplers: its gradient is the score, its value is handed in.

At the least noise t a denoiser knows grad log p_t, where p_t is the law of z_t = alpha x0 + sigma
eps: the data, shrunk by alpha and smoothed by sigma. Of a smooth f the mean under p_t is off by
(alpha - 1) E[x0 . grad f] + sigma^2 / 2 E[Laplacian f], to first order, and W2(p_t, data)^2 <= (1 -
alpha)^2 E|x0|^2 + sigma^2 d. The value log p_t(x) is no function of the score at x.

A Metropolis-adjusted kernel samples exp(value); the gradient only steers its proposals, so that an
error of the gradient costs acceptance, not bias. An unadjusted kernel follows the score alone.
float32 rounds the score by about 1e-7 |x| / sigma^2: take a larger t there.
Sources: Song et al. 2021, arXiv 2011.13456, section 3.3 and equation 39, for score and value. Wu et
al. 2023, arXiv 2306.17775, use such priors along the reverse process; here the score at one noise
level serves any kernel. Derived.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.predictions._read import as_score
from jaxgen.processes import num_blocks


def score_density(process, denoiser, log_prob, *, t=None):
    """logdensity_fn(x [*event]) -> [], nats: its value is log_prob(x), its gradient the score of
    the denoiser at t, for any kernel that takes a log-density; log_prob is never differentiated.

    Second derivatives are the Jacobian of the score, hence symmetric only where the score is a
    gradient. Gradients with respect to the denoiser's parameters are refused by JAX.
    Args: denoiser(z, t) -> E[x0 | z] [*event]; log_prob(x [*event]) -> [], nats, normalised or not,
        of the same law of z_t, such as `lambda x: flow(key, x)` with the flow of
        `likelihoods.flow_ode` on a grid that ends at t, or `score_integral`; t [], by default
        process.t_min.
    The law is that of z_t, not of the data: see the head of this file for the difference. Raises
    ValueError on a block process (its score is that of all blocks, and the data's is not among
    them), a t outside the process or without noise, a log_prob that is no function; when called on
    a denoiser that does not return the shape of x, or a value that is not one number.
    Source: Song et al. 2021, arXiv 2011.13456; derived.
    """
    where = "predictions.score_density"
    score = _score_at(where, process, denoiser, t)
    if not callable(log_prob):
        raise ValueError(
            f"{where}: log_prob must be a function x -> []; got {log_prob!r}. Without values use "
            "predictions.score_only, and unadjusted kernels only"
        )

    def value(x):
        found = jnp.asarray(log_prob(x))
        if found.shape != ():
            raise ValueError(f"{where}: log_prob must return one number []; got {found.shape}")
        return found.astype(x.dtype)

    return _with_gradient(value, score)


def score_only(process, denoiser, *, t=None):
    """logdensity_fn(x [*event]) -> [] whose gradient is the score of the denoiser at t and whose
    value is 0 everywhere: for unadjusted kernels, which read no values, such as `mcmc.ula`.

    With it a kernel that accepts or rejects (MALA, HMC, NUTS, random walks) is silently wrong: use
    `score_density`. In `smc.tempered` the weights and log Z need the likelihood's value alone, so
    that unadjusted kernels leave their own bias, O(dt), and nothing else.
    Args and errors as `score_density`. Source: Song and Ermon 2019, arXiv 1907.05600; derived.
    """
    score = _score_at("predictions.score_only", process, denoiser, t)
    return _with_gradient(lambda x: jnp.zeros((), x.dtype), score)


def score_integral(process, denoiser, reference, *, t=None, nodes=16):
    """log_prob(x [*event]) -> [], nats: log p_t(x) - log p_t(reference), the integral of the score
    along the straight line from reference [*event] to x by Gauss and Legendre's rule.

    Costs `nodes` evaluations, where `likelihoods.flow_ode` costs a solve with divergences; the
    missing constant cancels in Metropolis kernels and in log Z, which is against the prior's
    normaliser. The line crosses where a network saw no data, and a score that is no gradient gives
    a value that depends on the reference: compare two references, and two numbers of nodes. Between
    modes of width w at distance r the error falls like exp(-4 pi nodes w^2 / r^2).
    Args as `score_density`; nodes, an integer >= 1. Raises ValueError as `score_density`, on fewer
    nodes, and when called on an x that is not of the shape of the reference.
    Source: Song et al. 2021, arXiv 2011.13456, for the score; derived (the nearest complex zero of
    p_t).
    """
    where = "predictions.score_integral"
    score = _score_at(where, process, denoiser, t)
    if not isinstance(nodes, int) or nodes < 1:
        raise ValueError(f"{where}: nodes must be an integer, at least 1; got {nodes}")
    places, weights = np.polynomial.legendre.leggauss(nodes)

    def log_prob(x):
        start = jnp.asarray(reference, x.dtype)
        if start.shape != x.shape:
            raise ValueError(
                f"{where}: x must be of the shape of the reference {start.shape}; got {x.shape}"
            )
        way = x - start
        along = lambda s: jnp.sum(score(start + s * way) * way)
        slopes = jax.vmap(along)(jnp.asarray((1 + places) / 2, x.dtype))
        return jnp.sum(jnp.asarray(weights / 2, x.dtype) * slopes)

    return log_prob


def _with_gradient(value, score):
    """x -> value(x) [] with the gradient score(x) [*event], under every transformation of JAX."""

    @jax.custom_jvp
    def logdensity_fn(x):
        return value(x)

    @logdensity_fn.defjvp
    def _(primals, tangents):
        # The value by the rule itself, not by `value`: its derivative stays the score's.
        (x,), (dx,) = primals, tangents
        return logdensity_fn(x), jnp.sum(score(x) * dx)

    return lambda x: logdensity_fn(jnp.asarray(x))


def _score_at(where, process, denoiser, t):
    """x [*event] -> grad log p_t(x) [*event], in the dtype of x."""
    if num_blocks(process) is not None:
        raise ValueError(
            f"{where}: process must be scalar or diagonal: the score of blocks is that of all of "
            "them, and the data's own is not among them; got blocks"
        )
    t = process.t_min if t is None else t
    if is_concrete(process, t):
        if np.ndim(t) or not process.t_min <= t <= process.t_max:
            raise ValueError(
                f"{where}: t must be one number within [{process.t_min}, {process.t_max}]; got {t}"
            )
        if not np.all(np.asarray(process.transition(np.asarray(t))[1]) > 0):
            raise ValueError(f"{where}: at t there must be noise; got none at {t}")

    def checked(z, t):
        found = denoiser(z, t)
        if jnp.shape(found) != z.shape:
            raise ValueError(
                f"{where}: denoiser must return the shape of x {z.shape}; got {jnp.shape(found)}"
            )
        return found

    score_fn = as_score(process, checked)
    return lambda x: score_fn(x, jnp.asarray(t, x.dtype)).astype(x.dtype)
