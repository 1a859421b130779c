"""Log-determinants of one step of a descent, exact or estimated.

The step x <- x - g(x), over all particles x [n, d], follows the gradient g of a function, so its
Jacobian I - B is symmetric. With r the residuals, H_i the Hessian of r_i . Phi at particle i and
J_i [k, d] the Jacobian of Phi there,

    plain:       B_ii = gamma (H_i + J_i^T J_i),            B_ij = 0
    mean-field:  B_ij = gamma (H_i [i = j] + J_i^T J_j / n).

Source: Haggbom, Karlsmark and Anden 2024, arXiv 2403.08362, for the sum of log-determinants; the
determinant lemma for the term of rank k that couples the particles, which falls with 1 / n for each
of them and is kept here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class LogDet(NamedTuple):
    """log |det| of a step, shared out over the particles. Source: definition."""

    value: jax.Array  # [n], nats; the sum is that of the map of all particles
    standard_error: jax.Array  # [n], of random probes; zero when exact
    truncation: jax.Array  # [], the bias of a series per particle, at most; zero when exact
    invertible: jax.Array  # [], bool: I - B is positive definite (series: |B| < 1)


class Step(NamedTuple):
    """What a log-determinant is taken of: x [n, d] <- x - move(x). Source: definition."""

    statistics: Callable  # x [d] -> [k]
    move: Callable  # x [n, d] -> [n, d], gamma J^T r
    residual: Callable  # x [n, d] -> [n, k]
    step_size: jax.Array  # []
    coupled: bool


def exact():
    """A rule (key, step, x [n, d]) -> `LogDet` by factorising n matrices [d, d] and one or n
    [k, k]; the key is not used.

    Invertible says that I - B is positive definite at the particles: a step for which it holds
    everywhere is the gradient of a strictly convex function, so one-to-one.
    Source: Haggbom, Karlsmark and Anden 2024, arXiv 2403.08362; the determinant lemma.
    """

    def rule(key, step, x):
        del key
        n, d = x.shape
        gamma = jnp.asarray(step.step_size, x.dtype)
        residual = step.residual(x)
        jacobians = jax.vmap(jax.jacrev(step.statistics))(x)  # [n, k, d]

        def own(x, r):
            slope = lambda inner: jax.vjp(step.statistics, inner)[1](r)[0]
            return jnp.eye(d, dtype=x.dtype) - gamma * jax.jacfwd(slope)(x)

        alone = jax.vmap(own)(x, residual)  # I - gamma H_i
        solved = jnp.linalg.solve(alone, jnp.swapaxes(jacobians, 1, 2))
        shares = gamma * jacobians @ solved
        shares = (shares + jnp.swapaxes(shares, 1, 2)) / 2
        if step.coupled:
            shares = jnp.mean(shares, 0, keepdims=True)
        bound = jnp.eye(shares.shape[-1], dtype=x.dtype)[None] - shares
        value = jnp.linalg.slogdet(alone)[1]
        couplings = jnp.linalg.slogdet(bound)[1]
        value = value + (couplings / n if step.coupled else couplings)
        sound = _positive(alone) & _positive(bound)
        return LogDet(value, jnp.zeros_like(value), jnp.zeros((), x.dtype), sound)

    return rule


def _positive(matrices):
    """Whether every one of matrices [m, s, s] is positive definite."""
    factors = jnp.linalg.cholesky(jax.lax.stop_gradient(matrices))
    return jnp.all(jnp.isfinite(factors))


def series(*, products=4, probes=2):
    """A rule (key, step, x [n, d]) -> `LogDet` from log det(I - B) = -sum_m tr(B^m) / m, cut after
    m = 2 products, with Rademacher probes for the traces: cost linear in d.

    B is symmetric, so each product B u gives two traces, u_j . u_j and u_j . u_(j-1), all unbiased.
    The bias is that of the cut, at most |u_p|^2 rho / ((2 p + 1)(1 - rho)) for p products and
    rho = |B|. It is reported with rho = |u_p| / |u_(p-1)|, the largest over probes, which
    approaches |B| from below as p grows, so the report is an estimate of the bound: with one
    product, and with particles coupled, the bias has been seen to exceed it by 4 %. At
    rho >= 1 the series diverges: `truncation` is then infinite and `invertible` False.

    Args: products, how many Jacobian-vector products per probe, at least 1; probes, at least 2.
    Raises ValueError on fewer.
    Source: Hutchinson 1990, doi 10.1080/03610919008812866; Chen et al. 2019, arXiv 1906.02735,
    equation 5, for the series.
    """
    if products < 1 or probes < 2:
        raise ValueError(
            "microcanonical.series: products >= 1 and probes >= 2 must hold; got "
            f"{products} and {probes}"
        )

    def rule(key, step, x):
        _, push = jax.linearize(step.move, x)

        def size(u):  # a plain step moves every particle by itself: each has its own |B|
            squares = jnp.sum(u**2, 1)
            return jnp.sum(squares, keepdims=True) if step.coupled else squares

        def one(probe):
            def body(carry, power):
                held, total, _ = carry
                pushed = push(held)
                odd = jnp.sum(held * pushed, 1) / (2 * power - 1)
                even = jnp.sum(pushed**2, 1) / (2 * power)
                return (pushed, total - odd - even, size(held)), None

            powers = jnp.arange(1, products + 1, dtype=x.dtype)
            start = probe, jnp.zeros(len(x), x.dtype), jnp.zeros_like(size(probe))
            (held, total, before), _ = jax.lax.scan(body, start, powers)
            return total, before, size(held)

        signs = jax.random.rademacher(key, (probes, *x.shape), x.dtype)
        totals, before, last = jax.vmap(one)(signs)
        before, last = jax.lax.stop_gradient((before, last))
        ratios = jnp.where(before > 0, last / jnp.where(before > 0, before, 1), 0)
        rho = jnp.sqrt(jnp.max(ratios, 0))
        bound = jnp.mean(last, 0) * rho / ((2 * products + 1) * (1 - rho))
        bound = jnp.sum(bound) / len(x)
        sound = jnp.all(rho < 1)
        error = jnp.std(totals, axis=0, ddof=1) / jnp.sqrt(jnp.asarray(probes, x.dtype))
        error = jax.lax.stop_gradient(error)
        return LogDet(jnp.mean(totals, 0), error, jnp.where(sound, bound, jnp.inf), sound)

    return rule
