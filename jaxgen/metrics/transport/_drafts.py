"""Couplings of two laws over k symbols: the most agreement, and exact draws from cheap drafts.

Two pmfs p, q agree with probability at most 1 - TV = sum min(p, q). Given k drafts x_1 .. x_k from
q, one token of law p is wanted that is as often as possible among them. k-SEQ asks each draft in
turn and accepts x with probability min(1, p(x) / (rho q(x))); with

    beta = sum min(q, p / rho),   rho the root in [1, k] of 1 - (1 - beta)^k = rho beta,

a draft is accepted with probability 1 - (1 - beta)^k, and a token from the residual
p - min(q, p / rho) (1 - (1 - beta)^k) / beta after rejection makes the law p exactly.

Sources: Sun et al. 2023, arXiv:2310.15141, algorithms 2 and 3, theorem 2; Leviathan et al. 2023,
arXiv:2211.17192 (k = 1); Thorisson 2000, section 1.4 (maximal coupling).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.transport._problem import weights

Array = jax.Array

BISECTIONS = 60


class Draft(NamedTuple):
    """What came of k drafts. Source: definition."""

    token: Array  # [] int, of law p
    accepted: Array  # [] bool, it is one of the drafts that were asked
    index: Array  # [] int, which; k where none was accepted


def _two(where, p, q):
    p, q = jnp.asarray(p), jnp.asarray(q)
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"{where}: p and q must be pmfs [v]; got shapes {p.shape} and {q.shape}")
    dtype = jnp.result_type(p, q)
    return weights(where, "p", p, p.size, dtype), weights(where, "q", q, q.size, dtype)


def maximal_coupling(p: Array, q: Array) -> Array:
    """The joint law [v, v] of tokens (i of law p, j of law q) that agree as often as possible.

    Off the diagonal it is the product of the two excesses; its trace is 1 - TV.

    Raises ValueError on unequal shapes, negative or unnormalised pmfs.
    Source: Thorisson 2000, section 1.4.
    """
    p, q = _two("maximal_coupling", p, q)
    common = jnp.minimum(p, q)
    left, right = p - common, q - common
    distance = jnp.sum(left)
    apart = left[:, None] * right[None, :] / jnp.where(distance > 0, distance, 1)
    return jnp.diag(common) + apart


def _accepted(p, q, k, rho):
    """(beta, 1 - (1 - beta)^k), each []."""
    beta = jnp.sum(jnp.minimum(q, p / rho))
    return beta, -jnp.expm1(k * jnp.log1p(-jnp.minimum(beta, 1)))


def draft_discount(p: Array, q: Array, k: int) -> Array:
    """rho, [], in [1, k]: the smallest at which k-SEQ is exact.

    Raises ValueError on bad pmfs and k < 1.
    Source: Sun et al. 2023, arXiv:2310.15141, theorem 2.
    """
    p, q = _two("draft_discount", p, q)
    _drafts("draft_discount", k)
    return _discount(p, q, k)


def _drafts(where, k):
    if k < 1:
        raise ValueError(f"{where}: k must be at least 1; got {k}")


def _discount(p, q, k):
    held_p, held_q = map(jax.lax.stop_gradient, (p, q))

    def halve(_, bracket):
        low, high = bracket
        rho = (low + high) / 2
        beta, accepted = _accepted(held_p, held_q, k, rho)
        exact = accepted <= rho * beta  # no token is accepted too often
        return jnp.where(exact, low, rho), jnp.where(exact, rho, high)

    one = jnp.ones((), p.dtype)
    rho = jax.lax.fori_loop(0, BISECTIONS, halve, (one, k * one))[1]
    # The bisection gives the value; the derivative is that of the root.
    over = lambda rho, p, q: (lambda beta, accepted: rho * beta - accepted)(
        *_accepted(p, q, k, rho)
    )
    slope = jax.grad(over)(rho, held_p, held_q)
    inside = (rho > 1) & (rho < k) & (slope > 0)
    move = jnp.where(inside, -over(rho, p, q) / jnp.where(inside, slope, 1), 0)
    return rho + (move - jax.lax.stop_gradient(move))


def draft_acceptance(p: Array, q: Array, k: int) -> Array:
    """The probability, [], that k-SEQ accepts one of k drafts from q; 1 - TV for k = 1.

    It lies within a factor [1 - 1/e, 1] of the best that any rule reaches.

    Raises ValueError on bad pmfs and k < 1.
    Source: Sun et al. 2023, arXiv:2310.15141, theorem 2.
    """
    p, q = _two("draft_acceptance", p, q)
    _drafts("draft_acceptance", k)
    return _accepted(p, q, k, _discount(p, q, k))[1]


def draft_law(p: Array, q: Array, drafts: Array) -> tuple[Array, Array]:
    """What k-SEQ does with given drafts [k]: the probability that each is the one accepted, [k],
    and the law of the token where none is, [v].

    Raises ValueError on bad pmfs and unless drafts are integer [k], k >= 1.
    Source: Sun et al. 2023, arXiv:2310.15141, algorithm 3.
    """
    p, q = _two("draft_law", p, q)
    drafts = jnp.asarray(drafts)
    if drafts.ndim != 1 or drafts.size < 1 or not jnp.issubdtype(drafts.dtype, jnp.integer):
        raise ValueError(
            f"draft_law: drafts must be integer [k]; got {drafts.dtype} {drafts.shape}"
        )
    k = drafts.shape[0]
    rho = _discount(p, q, k)
    beta, accepted = _accepted(p, q, k, rho)
    shared = jnp.minimum(q, p / rho)
    # Where q is 0 no draft falls; were one handed in, p / (rho q) would accept it.
    odds = jnp.where(q > 0, shared / jnp.where(q > 0, q, 1), 1)[drafts]
    passed = jnp.cumprod(jnp.concatenate([jnp.ones_like(odds[:1]), 1 - odds[:-1]]))
    residual = jnp.maximum(p - shared * accepted / jnp.where(beta > 0, beta, 1), 0)
    total = jnp.sum(residual)
    return passed * odds, jnp.where(total > 0, residual / jnp.where(total > 0, total, 1), p)


def select_draft(key: Array, p: Array, q: Array, drafts: Array) -> Draft:
    """A token of law p, a Draft, from k independent drafts [k] of law q.

    Over drafts and key its law is p exactly; under jit k and v are fixed and nothing loops but the
    bisection for rho. `vmap` it over keys, pmfs and drafts.

    Args:
        key: draws who is accepted, and the residual token.
        p: the wanted pmf, [v].
        q: the drafts' pmf, [v].
        drafts: tokens, integer [k].

    Raises ValueError on bad pmfs and unless drafts are integer [k].
    Source: Sun et al. 2023, arXiv:2310.15141, algorithm 3.
    """
    each, rest = draft_law(p, q, drafts)
    key_index, key_rest = jax.random.split(key)
    u = jax.random.uniform(key_index, (), each.dtype)
    index = jnp.sum(u >= jnp.cumsum(each))  # k where none is accepted
    k = drafts.shape[0]
    other = jax.random.categorical(key_rest, jnp.log(rest))
    token = jnp.where(index < k, drafts[jnp.minimum(index, k - 1)], other)
    return Draft(token, index < k, index)
