"""The record of an exponential family, and the verbs that hold for all.

Source: Wainwright and Jordan 2008, Foundations and Trends in Machine Learning 1, chapter 3;
Banerjee et al. 2005, JMLR 6 (Bregman divergences); Oyama et al. 2023, arXiv 2212.09663 (the
quadratic form of the Fisher information as information gain).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

Array = jax.Array

_HALVINGS = 40  # of a Newton step, tried together
_STEPS = 100


class ExponentialFamily(NamedTuple):
    """p(x | η) = exp(<η, T(x)> - A(η)) b(x), for natural parameters η [p]."""

    log_partition: Callable[[Array], Array]  # A: natural [p] -> [], convex
    statistics: Callable[[Array], Array]  # T: x [*event] -> [p]
    log_base: Callable[[Array], Array]  # log b: x [*event] -> []
    inverse: Callable[[Array], Array]  # mean [p] -> natural [p], of the gradient of A
    mean_log_base: Callable[[Array], Array]  # natural [p] -> [], E log b(x); 0 where b = 1


def _vector(where, parameter, name="natural"):
    if jnp.ndim(parameter) != 1:
        got = jnp.shape(parameter)
        raise ValueError(f"exponential_family.{where}: {name} must be [p]; got shape {got}")
    return jnp.asarray(parameter)


def _pair(where, p, q):
    p, q = _vector(where, p), _vector(where, q)
    if p.shape != q.shape:
        raise ValueError(
            f"exponential_family.{where}: both parameters must be of one shape; "
            f"got {p.shape} and {q.shape}"
        )
    return p, q


def logdensity(family: ExponentialFamily, natural: Array, x: Array) -> Array:
    """The log-density (log-probability, where x is discrete) of x [*event] at natural [p]: [].

    Raises ValueError when natural is no vector. Source: definition.
    """
    natural = _vector("logdensity", natural)
    statistics, base = (
        jnp.asarray(part(x), natural.dtype) for part in (family.statistics, family.log_base)
    )
    return natural @ statistics - family.log_partition(natural) + base


def to_mean(family: ExponentialFamily, natural: Array) -> Array:
    """The mean parameters E T(x), [p], of natural [p]: the gradient of the log-partition.

    Raises ValueError when natural is no vector.
    Source: Wainwright and Jordan 2008, proposition 3.1.
    """
    return jax.grad(family.log_partition)(_vector("to_mean", natural))


def to_natural(family: ExponentialFamily, mean: Array) -> Array:
    """The natural parameters [p] of the member with mean parameters [p]; nan where there is none.

    From sample averages of T it is the maximum of the likelihood.
    Raises ValueError when mean is no vector. Source: Wainwright and Jordan 2008, theorem 3.3.
    """
    return family.inverse(_vector("to_natural", mean, "mean"))


def conjugate(family: ExponentialFamily, mean: Array) -> Array:
    """The convex conjugate of the log-partition at mean [p]: [], E log p(x) - E log b(x).

    Raises ValueError when mean is no vector. Source: Wainwright and Jordan 2008, theorem 3.4.
    """
    natural = to_natural(family, mean)
    return natural @ mean - family.log_partition(natural)


def kl_divergence(family: ExponentialFamily, p: Array, q: Array) -> Array:
    """The Kullback-Leibler divergence of the member p from the member q: [], nats.

    The Bregman divergence A(q) - A(p) - <q - p, ∇A(p)>, about ½ <q - p, G (q - p)> where G is the
    Fisher information and the difference is small. The base measure drops out. It is a difference
    of numbers the size of A: below about 1e-16 |A| nothing is left of it.

    Args: p, q [p], natural parameters. Raises ValueError on unequal shapes.
    Source: Banerjee et al. 2005, appendix A.
    """
    p, q = _pair("kl_divergence", p, q)
    value, slope = jax.value_and_grad(family.log_partition)(p)
    return family.log_partition(q) - value - (q - p) @ slope


def entropy(family: ExponentialFamily, natural: Array) -> Array:
    """The entropy (differential, where x is continuous) of the member natural [p]: [], nats.

    Raises ValueError when natural is no vector. Source: Wainwright and Jordan 2008, theorem 3.4.
    """
    natural = _vector("entropy", natural)
    value, mean = jax.value_and_grad(family.log_partition)(natural)
    return value - natural @ mean - family.mean_log_base(natural)


def fisher_information(family: ExponentialFamily, natural: Array) -> Array:
    """The Fisher information [p, p] in natural parameters: the covariance of T, the Hessian of A.

    In mean parameters it is the inverse.
    Raises ValueError when natural is no vector.
    Source: Wainwright and Jordan 2008, proposition 3.1.
    """
    return jax.hessian(family.log_partition)(_vector("fisher_information", natural))


def _zero(_):
    return jnp.zeros(())


def _newton(log_partition, start, mean):
    """The natural parameter [p] that maximises <η, mean> - A(η), by damped Newton steps.

    The objective is concave; of a step the largest half-power that raises it enough is taken, and
    one that leaves the domain (A not finite) is not. Derivatives are the implicit function's.
    """
    gain = lambda natural: natural @ mean - log_partition(natural)
    slope = jax.grad(log_partition)
    eps = jnp.finfo(mean.dtype).eps
    shrink = 0.5 ** jnp.arange(_HALVINGS, dtype=mean.dtype)

    def step(carry):
        count, natural, _ = carry
        rest = mean - slope(natural)
        move = jnp.linalg.solve(jax.hessian(log_partition)(natural), rest)
        decrement = rest @ move
        tried = natural[None] + shrink[:, None] * move[None]
        now, then = gain(natural), jax.vmap(gain)(tried)
        slack = 10 * eps * (1 + jnp.abs(now))
        good = then >= now + 0.1 * shrink * decrement - slack  # never where A is infinite or nan
        best = jnp.where(jnp.any(good), jnp.argmax(good), 0)
        return count + 1, tried[best], decrement

    def solve(_, natural):
        more = lambda carry: (carry[0] < _STEPS) & (carry[2] > eps)
        found = jax.lax.while_loop(more, step, (0, natural, jnp.asarray(jnp.inf, mean.dtype)))
        return jnp.where(found[2] <= eps, found[1], jnp.nan)

    linear = lambda push, y: jnp.linalg.solve(jax.jacobian(push)(jnp.zeros_like(y)), y)
    residual = lambda natural: slope(natural) - mean
    return jax.lax.custom_root(residual, jnp.asarray(start, mean.dtype), solve, linear)


def exponential_family(
    log_partition: Callable[[Array], Array],
    statistics: Callable[[Array], Array],
    *,
    start: Array | None = None,
    log_base: Callable[[Array], Array] | None = None,
    inverse: Callable[[Array], Array] | None = None,
    mean_log_base: Callable[[Array], Array] | None = None,
) -> ExponentialFamily:
    """An ExponentialFamily of your own, from its log-partition natural [p] -> [].

    It crosses `jit` where its functions do: `jax.tree_util.Partial(module_function, *numbers)`.

    Args:
        log_partition: natural [p] -> [], convex, not finite outside the domain.
        statistics: x [*event] -> [p].
        start: [p], a natural parameter inside the domain; needed where there is no inverse, which
            Newton's method then finds from here, with derivatives.
        log_base: x [*event] -> []; None is 0.
        inverse: mean [p] -> natural [p].
        mean_log_base: natural [p] -> [], E log_base(x), for entropies; None is 0.

    Raises ValueError where neither an inverse nor a start is given, where start is no vector, or
    where log_base comes without its mean.
    Source: definition; Boyd and Vandenberghe 2004, algorithm 9.5 (damped Newton steps).
    """
    if inverse is None:
        if start is None:
            raise ValueError("exponential_family: an inverse or a start must be given; got neither")
        inverse = Partial(_newton, Partial(log_partition), _vector("start", start, "start"))
    if (log_base is None) != (mean_log_base is None):
        raise ValueError("exponential_family: log_base and mean_log_base must come together")
    zero = Partial(_zero)
    return ExponentialFamily(
        log_partition, statistics, log_base or zero, inverse, mean_log_base or zero
    )
